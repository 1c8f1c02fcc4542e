# The bodies of HTTP answers that have no length. MIT licence, (c) 2026 the firstboot authors.
#
# An errand of link/http.py; ValueError where the server does not keep to RFC 9112.

from . import LinkError


def chunks(link):
    """A chunked body."""
    body = b""
    while True:
        size = int(link.line().split(b";")[0], 16)
        if size < 0:
            raise ValueError
        if not size:
            while link.line():  # trailers
                pass
            return body
        body += link.take(size)
        if link.line():
            raise ValueError


def to_end(link):
    """All that comes until the server closes the connection."""
    try:
        while True:
            link.more()
    except OSError as e:
        if isinstance(e, LinkError):
            raise
        data = link.rest
        link.begin()
        link.close()
        return data
