# What the MQTT loop writes rarely: another topic to publish to, and PINGREQ. MIT licence, (c) 2026 the firstboot
# authors.
#
# Errands of link/mqtt.py.

import time

from . import LinkError


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
