# What the MQTT loop reads rarely: packets that are not PUBACK or PINGRESP. MIT licence, (c) 2026 the firstboot authors.
#
# An errand of link/mqtt.py: a board without handlers hears a PUBLISH rarely, in its provisioning session for one.

from micropython import const

from .. import feed, log
from . import LinkError

_PUBLISH = const(0x30)
_MOST = const(16)  # messages that may wait while a publish waits for its PUBACK


def read(link, kind, size):
    """Read the rest of a packet with these first two bytes; a PUBLISH goes into the inbox of `link`."""
    feed()  # a server that always has something to say leaves no wait to do it
    body = _body(link, size)
    if body and kind & 0xF0 == _PUBLISH:
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
        # Not the end of the connection: what the server keeps, an RPC for one, would come again with the next one.
        log("server: a packet of %d bytes, more than server.frame allows, ignored" % size)
        while size:
            feed()
            link.fill(bytearray(min(size, 64)))
            size -= min(size, 64)
    body = bytearray(size)
    if size:
        link.fill(body)
    return body


def _received(link, qos, body):
    i = 2 + (body[0] << 8 | body[1]) if len(body) > 1 else 2
    j = i + 2 if qos else i
    if j > len(body):
        raise LinkError("a malformed packet from the server")
    if len(link.inbox) >= _MOST:
        # Nor acknowledged: an RPC comes again with the next connection.
        log("server: %d messages wait, one more is ignored" % _MOST)
        return
    if qos:
        link.write(b"\x40\x02" + body[i:j], 0, 4)
    body = memoryview(body)  # its slices are no copies
    link.inbox += ((bytes(body[2:i]), bytes(body[j:])),)
