# MQTT 3.1.1 on umqtt.simple's client. MIT licence, (c) 2026 the firstboot authors.
#
# umqtt.simple says CONNECT and reads CONNACK (mqtt_connect.py). What it leaves open is done here: deadlines (its
# wait_msg() blocks for ever in the middle of a packet), a QoS 1 publish in one write (in three, Nagle's algorithm
# and the server's delayed ACK make 22 a second out of 10,000), a limit on what a frame may take from the heap,
# and a connection that is kept alive.

import time
from micropython import const

from .. import errand
from . import LinkError
from .wire import Wire

_PUBLISH = const(0x30)
_PUBACK = const(0x40)
_NEVER = const(0x8000000)  # ms, 37 hours: no keepalive, no PINGREQ
_INBOX = const(16)  # messages that may wait while a publish waits for its PUBACK


class _Tail:
    # out[k:] = x makes a slice object, 16 bytes of heap, each time; this makes one to keep.
    def __getitem__(self, tail):
        return tail


class Link:
    """A connection to ThingsBoard's MQTT transport (contract 3 and 4.2)."""

    def __init__(self, config):
        tls = errand("link.tls", "options", config) if config["tls.enabled"] else None
        self.wire = Wire(config["server.host"], config["server.port"], tls)
        self.timeout = int(config["server.timeout"] * 1000)
        self.keepalive = config["server.keepalive"]
        self.most = config["server.frame"]
        self.head = bytearray(2)
        self.inbox = []
        self.topic = None
        self.pid = self.acked = 0

    def ask(self, request):
        """One provisioning request, one answer (bytes)."""
        return self._errand("ask", request)

    def open(self, credentials):
        """Connect as the device of `credentials`. Denied: the server answered with a refusing CONNACK."""
        self._errand("login", credentials)

    def send(self, payload):
        """Telemetry (bytes of JSON); returns when the server has acknowledged it."""
        self.publish(b"v1/devices/me/telemetry", payload)

    def report(self, payload):
        """Client attributes (bytes of JSON); returns when the server has acknowledged them."""
        self.publish(b"v1/devices/me/attributes", payload)

    def publish(self, topic, payload):
        """Publish at QoS 1 and wait for the PUBACK. No heap is taken while topic and size stay the same."""
        self.wire.within(self.timeout)
        pid = self.start(topic, payload)
        while self.next() != _PUBACK or self.acked != pid:
            pass

    def listen(self, ms, handler=None):
        """Wait for `ms` milliseconds, give each arriving message to handler(topic, payload), both bytes.

        Sends PINGREQ after a third of the keepalive without a packet from the server, and raises OSError when
        there was none for one and a half of it.
        """
        end = time.ticks_add(time.ticks_ms(), ms)
        beat = self.keepalive * 1000 // 3 or _NEVER
        while True:
            while self.inbox:
                topic, payload = self.inbox.pop(0)
                if handler:
                    handler(topic, payload)
            now = time.ticks_ms()
            left = time.ticks_diff(end, now)
            if left <= 0:
                return
            if self.pinged:
                wait = beat * 7 // 2 - time.ticks_diff(now, self.seen)
            else:
                wait = beat - time.ticks_diff(now, self.seen)
            if self.wire.arrives(max(0, min(left, wait))):
                self.wire.within(self.timeout)
                self.next()
            elif wait < left:
                if self.pinged:
                    raise LinkError("no sign of life from the server for %d s" % (self.keepalive * 3 // 2))
                self._ping()

    def close(self):
        """Say DISCONNECT where that is possible, and close."""
        if self.wire.sock:
            try:
                self.wire.within(0)
                self.wire.write(b"\xe0\0", 0, 2)
            except OSError:
                pass
            self.wire.close()

    def _errand(self, function, argument):
        self.inbox.clear()
        self.topic = None
        self.pinged = False
        answer = errand("link.mqtt_connect", function, self, argument)
        self.seen = time.ticks_ms()
        return answer

    def start(self, topic, payload):
        """Send a QoS 1 publish without waiting for its PUBACK; returns the packet identifier."""
        # The packet is laid so that the topic's length stands at 4 whatever the size: 1 to 3 bytes of remaining
        # length (MQTT 2.2.3) and the packet type go before it.
        if topic is not self.topic:
            size = len(topic)
            self.out = bytearray(b"\0\0\0\0" + bytes((size >> 8, size & 255)) + topic + b"\0\0")
            self.tail = _Tail()[len(self.out) :]
            self.topic = topic
        out = self.out
        out[self.tail] = payload
        self.pid = pid = self.pid % 65535 + 1
        i = len(topic) + 6
        out[i] = pid >> 8
        out[i + 1] = pid & 255
        size = len(out) - 4
        start = i = 3 - (size > 127) - (size > 16383)
        while i < 3:
            out[i] = size & 127 | 128
            size >>= 7
            i += 1
        out[3] = size
        out[start - 1] = _PUBLISH | 2
        self.wire.write(out, start - 1, len(out) - start + 1)
        return pid

    def _ping(self):
        self.wire.within(self.timeout)
        self.wire.write(b"\xc0\0", 0, 2)
        self.pinged = True
        self.seen = time.ticks_ms()

    def next(self):
        """Read one packet and return its type; a PUBLISH goes into `inbox`, a PUBACK's id into `acked`."""
        head = self.head
        wire = self.wire
        wire.fill(head)
        kind = head[0] & 0xF0
        size = head[1]
        if kind == _PUBACK and size == 2:
            wire.fill(head)
            self.acked = head[0] << 8 | head[1]
        else:
            body = self._body(size)
            if kind == _PUBLISH:
                self._received(head[0] & 6, body)
        self.seen = time.ticks_ms()
        self.pinged = False
        return kind

    def _body(self, size):
        one = bytearray(1)
        shift = 7
        while size >> shift:
            if shift > 21:
                raise LinkError("a malformed packet from the server")
            self.wire.fill(one)
            size += (one[0] - 1) << shift
            shift += 7
        if size > self.most:
            raise LinkError("a packet of %d bytes is more than server.frame allows" % size)
        body = bytearray(size)
        if size:
            self.wire.fill(body)
        return body

    def _received(self, qos, body):
        i = 2 + (body[0] << 8 | body[1]) if len(body) > 1 else 2
        j = i + 2 if qos else i
        if j > len(body) or len(self.inbox) >= _INBOX:
            raise LinkError("a malformed packet or too many of them from the server")
        if qos:
            self.wire.write(b"\x40\x02" + body[i:j], 0, 4)
        self.inbox.append((bytes(body[2:i]), bytes(body[j:])))
