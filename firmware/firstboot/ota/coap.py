# What an update asks of ThingsBoard over CoAP. MIT licence, (c) 2026 the firstboot authors.

import json
from micropython import const

from ..link import LinkError

_CHUNK = const(512)  # a datagram holds it with its head
_CONTENT = const(0x45)
_BAD_REQUEST = const(0x80)
_NOT_FOUND = const(0x84)


def attributes(link, keys):
    """The shared attributes of these keys (text, commas between), those that there are: a dict. OSError."""
    code, body = link.get((b"api", b"v1", link.user, b"attributes"), ("sharedKeys=" + keys,))
    try:
        return json.loads(body).get("shared") or {} if code == _CONTENT else {}
    except (ValueError, AttributeError):
        return {}


class Source:
    """The package's bytes, in pieces of `chunk`."""

    def __init__(self, link, package):
        if not link.user:
            raise ValueError("over CoAP packages are for boards with an access token (contract 2.4)")
        self.link = link
        self.chunk = _CHUNK
        self.path = package[0].encode(), link.user
        self.query = "title=" + package[1], "version=" + package[2], "size=%d" % _CHUNK

    def get(self, n):
        """Chunk number `n`. OSError; ValueError: the server has no such package."""
        code, body = self.link.get(self.path, self.query + ("chunk=%d" % n,))
        if code in (_BAD_REQUEST, _NOT_FOUND):
            raise ValueError("the server says %d.%02d" % (code >> 5, code & 31))
        if code != _CONTENT:
            raise LinkError("%d.%02d" % (code >> 5, code & 31))
        return body
