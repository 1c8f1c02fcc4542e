# ThingsBoard's HTTP transport. MIT licence, (c) 2026 the firstboot authors.
#
# One HTTP/1.1 connection stays open from sample to sample: a TLS handshake for each is more than a board can afford.
# It is opened anew when the server has closed it, as servers do with idle ones. What happens now and then
# (http_ask.py, http_body.py) is in memory while it happens.

import time
from micropython import const

from .. import __version__, errand, pause
from . import Denied, LinkError, Wire

_CHUNKED = const(-1)  # in place of a body's length
_TLS_ALERT = const(0x15)


class Link(Wire):
    """A client of ThingsBoard's HTTP transport (contract 2.5, 4.1, 4.6, 5 and 6)."""

    def __init__(self, config):
        errand("server", "prepare", self, config)
        self.buffer = bytearray(128)

    def ask(self, request, *_):
        """One provisioning request, one answer (bytes)."""
        self.close()
        try:
            return errand("link.http_ask", "ask", self, request)
        finally:
            self.close()

    def open(self, credentials):
        """Be the device of `credentials`. Denied: the server answered with 401."""
        self.close()
        self.user = errand("link.http_ask", "user", credentials)
        self.report(('{"firstboot_version":"%s"}' % __version__).encode())

    def send(self, payload):
        """Telemetry (bytes of JSON); returns when the server has acknowledged it."""
        self._say(b"telemetry", payload)

    def report(self, payload):
        """Client attributes (bytes of JSON); returns when the server has acknowledged them."""
        self._say(b"attributes", payload)

    def listen(self, ms, handler=None):
        """Wait for `ms` milliseconds. Nothing comes for the handler, but the server may close the connection."""
        end = time.ticks_add(time.ticks_ms(), ms)
        while ms > 0:
            if not self.sock:
                pause(ms)
                return
            try:
                # What arrives without a request can only be the end of the connection, or TLS's own business.
                self.within(ms)
                if self.ready(None) and self.sock.readinto(self.buffer) is not None:
                    self.close()
            except OSError:
                self.close()
            ms = time.ticks_diff(end, time.ticks_ms())

    def _say(self, what, payload):
        status, _ = self.post(self.user + what, payload)
        if status >= 300:
            self.close()
            raise (Denied if status == 401 else LinkError)("HTTP %d" % status)

    def post(self, path, payload):
        """POST `payload` to /api/v1/`path` (bytes) and return the answer: (status, body)."""
        head = b"Content-Type: application/json\r\nContent-Length: %d\r\n" % len(payload)
        return self._exchange(b"POST", path, head, payload)

    def get(self, path):
        """GET /api/v1/`path` (bytes) and return the answer: (status, body)."""
        return self._exchange(b"GET", path, b"", b"")

    def _exchange(self, method, path, head, payload):
        self.within(self.timeout)
        line = b"%s /api/v1/%s HTTP/1.1\r\nHost: %s:%d\r\n%s\r\n%s"
        packet = line % (method, path, self.host.encode(), self.port, head, payload)
        while True:
            is_kept = self.sock is not None
            self.begin()
            try:
                if is_kept:
                    self.write(packet, 0, len(packet))
                else:
                    errand("link.dial", "tcp", self, packet)
                return self.answer()
            except OSError as e:
                self.close()
                # Closed before the first byte of an answer, the request was not heard: the connection was idle.
                if not is_kept or self.left < self.most or isinstance(e, LinkError):
                    raise

    def begin(self):
        """An answer starts here; server.frame is the most that it may have, with its head."""
        self.rest = b""
        self.left = self.most

    def answer(self):
        """Read an answer after begin(): (status, body)."""
        try:
            status = 100
            while status < 200:
                status, size, is_kept = self._head()
            if status in (204, 304):
                size = 0
            if size is None:
                body = errand("link.http_body", "to_end", self)
            elif size < 0:
                body = errand("link.http_body", "chunks", self)
            else:
                body = self.take(size)
        except (ValueError, IndexError):
            raise LinkError("the server's answer is malformed")
        if not is_kept or self.rest:
            self.close()
        return status, body

    def _head(self):
        line = self.line()
        if line[:5] != b"HTTP/":
            raise LinkError("this is not an HTTP server")
        status = int(line.split(None, 2)[1])
        is_kept = line[5:8] == b"1.1"
        size = None
        while True:
            line = self.line()
            if not line:
                return status, size, is_kept
            if line[0] not in b"CcTt":  # none of those below; a server sends many
                continue
            name, _, value = line.lower().partition(b":")
            value = value.strip()
            if name == b"content-length" and size is None:
                size = int(value)
                if size < 0:
                    raise ValueError
            elif name == b"transfer-encoding" and value == b"chunked":
                size = _CHUNKED
            elif name == b"connection":
                is_kept = value == b"keep-alive" or is_kept and value != b"close"

    def line(self):
        """The next line of an answer, without its end."""
        while True:
            line, end, rest = self.rest.partition(b"\n")
            if end:
                self.rest = rest
                return line.rstrip()
            self.more()

    def take(self, size):
        """The next `size` bytes of an answer."""
        if size > self.left + len(self.rest):
            raise LinkError("the server's answer is larger than server.frame allows")
        while len(self.rest) < size:
            self.more()
        data = self.rest[:size]
        self.rest = self.rest[size:]
        return data

    def more(self):
        """Read on: what has come is in `rest`."""
        is_first = self.left == self.most
        try:
            size = self.some(self.buffer)
        except OSError as e:
            if is_first and not self.tls and not isinstance(e, LinkError):
                raise OSError("%s; is it right that tls.enabled is false?" % e)
            raise
        if size > self.left:
            self.take(size + self.most)  # raises that it is too large
        if is_first and self.buffer[0] == _TLS_ALERT:
            raise LinkError("server.port speaks TLS, and tls.enabled is false")
        self.left -= size
        self.rest += self.buffer[:size]
