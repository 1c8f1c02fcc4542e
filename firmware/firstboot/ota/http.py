# What an update asks of ThingsBoard over HTTP. MIT licence, (c) 2026 the firstboot authors.

import json
from micropython import const

from .. import errand
from ..link import Denied, LinkError

_CHUNK = const(1024)
_OK = const(200)
_TYPES = {"fw": b"firmware", "sw": b"software"}


def attributes(link, keys):
    """The shared attributes of these keys (text, commas between), those that there are: a dict. OSError."""
    status, body = _get(link, b"attributes?sharedKeys=" + keys.encode())
    try:
        return json.loads(body).get("shared") or {} if status == _OK else {}
    except (ValueError, AttributeError):
        return {}


class Source:
    """The package's bytes, in pieces of `chunk`."""

    def __init__(self, link, package):
        kind, title, version = package[:3]
        self.link = link
        self.chunk = _CHUNK
        while self.chunk * 2 > link.most:  # an answer has a head, too
            self.chunk //= 2
        title, version = [errand("link.http_ask", "quoted", text) for text in (title, version)]
        self.path = b"%s?title=%s&version=%s&size=%d&chunk=" % (_TYPES[kind], title, version, self.chunk)

    def get(self, n):
        """Chunk number `n`. OSError; ValueError: the server has no such package."""
        status, body = _get(self.link, self.path + b"%d" % n)
        if status in (400, 404):
            raise ValueError("the server says HTTP %d" % status)
        if status != _OK:
            raise LinkError("HTTP %d" % status)
        return body


def _get(link, path):
    status, body = link.get(link.user + path)
    if status == 401:
        link.close()
        raise Denied("HTTP 401")
    return status, body
