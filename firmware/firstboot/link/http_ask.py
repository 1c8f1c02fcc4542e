# A provisioning request over HTTP. MIT licence, (c) 2026 the firstboot authors.
#
# An errand of link/http.py. Without TLS the port's own `requests` (or `urequests`) words the request; it would
# verify nothing, so with TLS link/http.py does.

import json

from .. import errand, forget
from . import LinkError


class _Dial:
    # Stands where requests has its socket module and its socket. Its own timeout is one of each read, and it reads
    # as long as somebody writes, follows redirects with the secret, and knows no chunks: link/http.py reads instead.
    SOCK_STREAM = 1

    def __init__(self, link):
        self.link = link
        self.packet = bytearray()

    def getaddrinfo(self, *_):
        return ((0, 1, 0, "", None),)

    def socket(self, *_):
        return self

    def connect(self, address):
        pass

    def write(self, data):
        self.packet.extend(data.encode() if isinstance(data, str) else data)

    def readline(self):
        if not self.packet:
            return b"\r\n"
        self.link.begin()
        errand("link.dial", "tcp", self.link, self.packet)
        self.packet = None
        self.answer = self.link.answer()
        return b"HTTP/1.0 200 OK\r\n"

    def read(self, *_):
        return b""

    def close(self):
        pass


def ask(link, request):
    """One provisioning request (bytes), one answer (bytes). A refusal is a 200, too (contract 4.1)."""
    status, body = link.post(b"provision", request) if link.tls else _plainly(link, request)
    if status == 200:
        return body
    if status == 500 and _is_fault(body):
        # The message in it may hold the request.
        raise LinkError("HTTP 500: malformed request")
    if 300 <= status < 400:
        raise LinkError("HTTP %d: the server redirects; look at server.host, server.port and tls.enabled" % status)
    raise LinkError("HTTP %d" % status)


def user(credentials):
    """The access token of `credentials` as a part of a path, with a slash after it. LinkError: there is none."""
    token = credentials.get("token")
    if not token:
        raise LinkError("http carries access tokens only, this device has %s" % credentials["credentialsType"])
    # An operator's own token may be any text.
    return quoted(token) + b"/"


def quoted(text):
    """`text` as a part of a URL (RFC 3986, 2.1), as bytes."""
    return b"".join([b"%c" % c if _is_plain(c) else b"%%%02X" % c for c in text.encode()])


def _is_plain(c):
    return 48 <= c < 58 or 97 <= c | 32 < 123 or c in b"-._~"


def _plainly(link, request):
    requests = _requests()
    if not requests:
        return link.post(b"provision", request)
    link.within(link.timeout)
    dial = _Dial(link)
    name = "socket" if hasattr(requests, "socket") else "usocket"
    module = getattr(requests, name)
    try:
        setattr(requests, name, dial)
        requests.post(
            "http://%s:%d/api/v1/provision" % (link.host, link.port),
            data=request,
            headers={"Content-Type": "application/json"},
        ).close()
        return dial.answer
    finally:
        setattr(requests, name, module)
        forget(requests.__name__)


def _requests():
    for name in ("requests", "urequests"):
        try:
            return __import__(name)
        except ImportError:
            pass


def _is_fault(body):
    # What ThingsBoard says of a request that it could not read: a numeric status, where an answer's is text.
    try:
        doc = json.loads(body)
    except ValueError:
        return False
    return isinstance(doc, dict) and isinstance(doc.get("status"), int)
