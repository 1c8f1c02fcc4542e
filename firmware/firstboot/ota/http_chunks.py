# A package's bytes over HTTP. MIT licence, (c) 2026 the firstboot authors.

from micropython import const

from .. import errand
from ..link import LinkError

_OK = const(200)
_TYPES = {"fw": b"firmware", "sw": b"software"}


class Source:
    """The bytes of `package` (as look.py has it), in pieces of `chunk`: what `buffer`, not used here, holds at most."""

    def __init__(self, link, package, buffer):
        kind, title, version = package[:3]
        self.link = link
        self.chunk = len(buffer)
        while self.chunk * 2 > link.most:  # an answer has a head, too
            self.chunk //= 2
        title, version = [errand("link.http_ask", "quoted", text) for text in (title, version)]
        self.path = b"%s?title=%s&version=%s&size=%d&chunk=" % (_TYPES[kind], title, version, self.chunk)

    def get(self, n):
        """Chunk number `n`. OSError; ValueError: the server has no such package."""
        status, body = errand("ota.http", "get", self.link, self.path + b"%d" % n)
        if status in (400, 404):
            raise ValueError("the server says HTTP %d" % status)
        if status != _OK:
            raise LinkError("HTTP %d" % status)
        return body
