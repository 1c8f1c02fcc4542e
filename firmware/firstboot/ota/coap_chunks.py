# A package's bytes over CoAP. MIT licence, (c) 2026 the firstboot authors.

from micropython import const

from ..link import LinkError

_CHUNK = const(512)  # a datagram holds it with its head
_CONTENT = const(0x45)
_BAD_REQUEST = const(0x80)
_NOT_FOUND = const(0x84)


class Source:
    """The bytes of `package` (as look.py has it), in pieces of `chunk`: what `buffer`, not used here, holds at most."""

    def __init__(self, link, package, buffer):
        if not link.user:
            raise ValueError("over CoAP ThingsBoard has packages for boards with an access token only")
        self.link = link
        self.chunk = min(_CHUNK, len(buffer))
        self.path = package[0].encode(), link.user
        self.query = "title=" + package[1], "version=" + package[2], "size=%d" % self.chunk

    def get(self, n):
        """Chunk number `n`. OSError; ValueError: the server has no such package."""
        code, body = self.link.get(self.path, self.query + ("chunk=%d" % n,))
        if code in (_BAD_REQUEST, _NOT_FOUND):
            raise ValueError("the server says %d.%02d" % (code >> 5, code & 31))
        if code != _CONTENT:
            raise LinkError("%d.%02d" % (code >> 5, code & 31))
        return body
