# What the MQTT loop does rarely: another topic to publish to, PINGREQ, and packets that are not PUBACK or
# PINGRESP. MIT licence, (c) 2026 the firstboot authors.
#
# Errands of link/mqtt.py: a board without handlers hears a PUBLISH once, in its provisioning session.

import time
from micropython import const

from . import LinkError

_PUBLISH = const(0x30)
_MOST = const(16)  # messages that may wait while a publish waits for its PUBACK


class _Tail:
    # out[k:] = x makes a slice object, 16 bytes of heap, each time; this makes one to keep.
    def __getitem__(self, tail):
        return tail


def lay(link, topic):
    """Lay out the buffer of `link` for publishing to `topic` (bytes)."""
    # The topic's length stands at 4 whatever the size: 1 to 3 bytes of remaining length (MQTT 2.2.3) and the packet
    # type go before it.
    size = len(topic)
    link.out = bytearray(b"\0\0\0\0" + bytes((size >> 8, size & 255)) + topic + b"\0\0")
    link.tail = _Tail()[len(link.out) :]
    link.topic = topic


def ping(link):
    """Send PINGREQ (MQTT 3.12); LinkError where the last one had no answer."""
    if link.pinged:
        raise LinkError("no sign of life from the server for %d s" % (link.keepalive * 3 // 2))
    link.within(link.timeout)
    link.write(b"\xc0\0", 0, 2)
    link.pinged = True
    link.seen = time.ticks_ms()


def read(link, kind, size):
    """Read the rest of a packet with these first two bytes; a PUBLISH goes into the inbox of `link`."""
    body = _body(link, size)
    if kind & 0xF0 == _PUBLISH:
        _received(link, kind & 6, body)


def _body(link, size):
    # `size`: the first byte of the remaining length (MQTT 2.2.3). A frame that is too long is refused before any
    # memory is taken for it.
    one = bytearray(1)
    shift = 7
    while size >> shift:
        if shift > 21:
            raise LinkError("a malformed packet from the server")
        link.fill(one)
        size += (one[0] - 1) << shift
        shift += 7
    if size > link.most:
        raise LinkError("a packet of %d bytes is more than server.frame allows" % size)
    body = bytearray(size)
    if size:
        link.fill(body)
    return body


def _received(link, qos, body):
    i = 2 + (body[0] << 8 | body[1]) if len(body) > 1 else 2
    j = i + 2 if qos else i
    if j > len(body) or len(link.inbox) >= _MOST:
        raise LinkError("a malformed packet or too many of them from the server")
    if qos:
        link.write(b"\x40\x02" + body[i:j], 0, 4)
    link.inbox += ((bytes(body[2:i]), bytes(body[j:])),)
