# A package's bytes over MQTT. MIT licence, (c) 2026 the firstboot authors.

from micropython import const

from .. import errand
from ..link import LinkError

_HEAD = const(64)  # bytes of a packet that are not payload
_PUBLISH = const(0x30)


class Source:
    """The bytes of `package` (as look.py has it), in pieces of `chunk`, which is what `buffer` holds at most.

    Packets are read here, in place of link/mqtt.py: each chunk into the same memory, 3 KB less than with a message made
    of each, and its code.
    """

    def __init__(self, link, package, buffer):
        self.link = link
        self.buffer = buffer
        self.chunk = len(buffer)
        while self.chunk + _HEAD > link.most:
            self.chunk //= 2
        kind = package[0].encode()
        # They would come without a subscription, too, but at QoS 1: this board's PUBACK is a packet of its own, for
        # whose ACK Nagle's algorithm lets the next request wait: 44 ms for each chunk on loopback, 1 without.
        topic = b"v2/%s/response/+/chunk/+" % kind
        self._write(0x82, b"", bytes((0, len(topic))) + topic + b"\0")
        # A package is the same as long as the number of its request is, on one connection (contract 9).
        self.topic = b"v2/%s/request/%d/chunk/" % (kind, link.pid)

    def _write(self, kind, topic, payload):
        link = self.link
        link.within(link.timeout)
        link.pid = pid = link.pid % 65535 + 1
        packet = topic + bytes((pid >> 8, pid & 255)) + payload
        link.write(bytes((kind, len(packet))) + packet, 0, len(packet) + 2)

    def get(self, n):
        """Chunk number `n`, there until the next call. OSError; ValueError: the server has no such package."""
        link = self.link
        topic = self.topic + b"%d" % n
        self._write(_PUBLISH | 2, bytes((0, len(topic))) + topic, b"%d" % self.chunk)
        while True:
            link.fill(link.head)
            kind, size = link.head
            if kind == _PUBLISH:  # the only ones at QoS 0 are chunks
                return self._piece(size)
            if kind & 0xF0 != _PUBLISH:  # acknowledgements, in short
                link.fill(bytearray(size))
                continue
            # Somebody calls, or the server has no such package.
            errand("link.mqtt_packet", "read", link, kind, size)
            for topic, payload in link.inbox:
                if topic == b"v2/fw/error":  # for software, too
                    raise ValueError("the server says " + str(payload, "utf-8"))

    def _piece(self, size):
        # `size`: the first byte of the remaining length (MQTT 2.2.3), of which there is one more, or it is too large.
        link, head = self.link, self.link.head
        if size > 127:
            link.fill(memoryview(head)[:1])
            size += (head[0] - 1) << 7
        link.fill(head)
        topic = head[0] << 8 | head[1]
        size -= topic + 2
        if topic > _HEAD or not 0 <= size <= self.chunk:
            raise LinkError("this is not the chunk that was asked for")
        link.fill(bytearray(topic))
        chunk = memoryview(self.buffer)[:size]
        if size:
            link.fill(chunk)
        return chunk
