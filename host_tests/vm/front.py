"""A TCP server before the stand-in that keeps every byte it is told: with TLS, of any certificate, or without."""

import contextlib
import datetime
import select
import socket
import ssl
import threading

import trustme

DAY = datetime.timedelta(days=1)
HOST = "127.0.0.1"


class Front:
    """A context manager; what arrives at `port` goes on to `backend` (a port), after TLS where there is a `context`.

    `seen`: all that clients said, decrypted; `raw`: the same as it came over the wire, where there is no TLS.
    `closes`: called with each chunk of an answer, it may shorten it, and then the connection is closed.
    """

    def __init__(self, backend, context=None, closes=None):
        self.backend = backend
        self.context = context
        self.closes = closes
        self.seen = bytearray()
        self.errors = []
        self.connections = 0
        self.listener = socket.create_server((HOST, 0))
        self.port = self.listener.getsockname()[1]

    def __enter__(self):
        threading.Thread(target=self._listen, daemon=True).start()
        return self

    def __exit__(self, *_):
        self.listener.close()

    def _listen(self):
        while True:
            try:
                sock, _ = self.listener.accept()
            except OSError:
                return
            self.connections += 1
            threading.Thread(target=self._serve, args=(sock,), daemon=True).start()

    def _serve(self, sock):
        sock.settimeout(10)
        try:
            if self.context:
                sock = self.context.wrap_socket(sock, server_side=True)
            with sock, socket.create_connection((HOST, self.backend)) as back:
                self._carry(sock, back)
        except OSError as e:
            self.errors.append(e)
            with contextlib.suppress(OSError):
                sock.close()

    def _carry(self, sock, back):
        while True:
            pending = isinstance(sock, ssl.SSLSocket) and sock.pending()
            ready = [sock] if pending else select.select([sock, back], [], [], 10)[0]
            if not ready:
                return
            for one in ready:
                data = one.recv(65536)
                if not data:
                    return
                if one is sock:
                    self.seen += data
                    back.sendall(data)
                    continue
                kept = self.closes(data) if self.closes else data
                sock.sendall(kept)
                if kept != data:
                    return


def issued(ca, *names, **more):
    """A TLS server's context with a leaf certificate from the trustme.CA `ca`."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    ca.issue_cert(*(names or (HOST,)), **more).configure_cert(context)
    return context


def der(ca):
    """The certificate of a trustme.CA as the board wants it."""
    return ssl.PEM_cert_to_DER_cert(ca.cert_pem.bytes().decode())


def bad_context(kind, ca):
    """A TLS server's context with a certificate that is wrong in one way; `ca` is the one that the board trusts."""
    now = datetime.datetime.now(datetime.timezone.utc)
    if kind == "expired":
        return issued(ca, not_before=now - 9 * DAY, not_after=now - DAY)
    if kind == "not yet valid":
        return issued(ca, not_before=now + DAY, not_after=now + 9 * DAY)
    if kind == "wrong host name":
        return issued(ca, "thingsboard.example.org")
    other = trustme.CA()
    if kind == "wrong CA":
        return issued(other)
    assert kind == "self-signed"
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    with (
        other.cert_pem.tempfile() as certificate,
        other.private_key_pem.tempfile() as key,
    ):
        context.load_cert_chain(certificate, key)
    return context
