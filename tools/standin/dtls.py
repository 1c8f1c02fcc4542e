"""DTLS 1.2 before CoAP, on pyOpenSSL (contract 2.4): what is decrypted goes on to the plain port.

Each client is a socket of its own there, so that the CoAP side knows whose certificate a request came with.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Callable
from typing import Any

from cryptography import x509
from OpenSSL import SSL

from .certificates import Pair
from .tls import client_chain

Address = tuple[str, int]
_MTU = 1024  # ThingsBoard's own limit for a datagram
_HANDSHAKE = 60  # seconds; lost datagrams are sent again for as long
_CLIENT_HELLO = b"\x16\xfe"  # a handshake record of DTLS; its epoch 0 tells a new session from an old one


def context(pair: Pair) -> SSL.Context:
    """What the port needs: it asks for a certificate, and takes any."""
    made = SSL.Context(SSL.DTLS_SERVER_METHOD)
    made.use_certificate_chain_file(str(pair.certificate))
    made.use_privatekey_file(str(pair.key))
    made.check_privatekey()
    made.set_session_cache_mode(SSL.SESS_CACHE_OFF)
    made.set_options(SSL.OP_NO_TICKET)
    made.set_verify(SSL.VERIFY_PEER, lambda *_: True)
    return made


# A fatal alert in the clear, numbered beyond all that was sent before.
_BAD_CERTIFICATE = b"\x15\xfe\xfd\0\0\0\0\0\0\xff\xff\0\2\2\x2a"


class Front(asyncio.DatagramProtocol):
    """The network's side of the port.

    `admit(address, chain)` hears of each client that is through with its handshake: the address by which the plain
    port at `backend` knows it, and its chain (leaf first, empty without a certificate). ValueError refuses it.
    """

    def __init__(
        self,
        context: Callable[[], SSL.Context],
        backend: Address,
        admit: Callable[[Address, list[x509.Certificate]], None],
        trouble: Callable[[str], None],
    ) -> None:
        self.context = context
        self.backend = backend
        self.admit = admit
        self.trouble = trouble
        self.transport: Any = None
        self.sessions: dict[Address, Session] = {}

    def connection_made(self, transport: Any) -> None:
        """The port is open."""
        self.transport = transport

    def datagram_received(self, data: bytes, address: Any) -> None:
        """From a client."""
        session = self.sessions.get(address)
        if session and session.is_up and data[:2] == _CLIENT_HELLO and data[3:5] == b"\0\0" and data[13:14] == b"\1":
            session.close()
            session = None
        if session is None:
            session = self.sessions[address] = Session(self, address)
        session.arrived(data)

    def connection_lost(self, error: Exception | None) -> None:
        """The port is closed."""
        for session in list(self.sessions.values()):
            session.close()


class Session:
    """One client."""

    def __init__(self, front: Front, address: Address) -> None:
        self.front = front
        self.address = address
        self.is_up = False
        self.engine = SSL.Connection(front.context(), None)
        self.engine.set_accept_state()
        self.engine.set_ciphertext_mtu(_MTU)
        self.loop = asyncio.get_running_loop()
        self.timer: asyncio.TimerHandle | None = None
        self.inner = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.inner.setblocking(False)
        self.inner.connect(front.backend)
        self.loop.add_reader(self.inner, self._answered)
        self.patience = self.loop.call_later(_HANDSHAKE, self.close)

    def arrived(self, data: bytes) -> None:
        """A datagram of the client's."""
        try:
            self.engine.bio_write(data)
            if not self.is_up:
                self.engine.do_handshake()
                self.front.admit(self.inner.getsockname(), client_chain(self.engine))
                self.is_up = True
                self.patience.cancel()
            while True:
                plain = self.engine.recv(65536)
                with contextlib.suppress(OSError):
                    self.inner.send(plain)
        except SSL.WantReadError:
            self._flush()
        except SSL.ZeroReturnError:
            self.close()
        except SSL.Error as e:
            self._flush()
            self._refused(e)
        except ValueError as e:
            self.front.transport.sendto(_BAD_CERTIFICATE, self.address)  # instead of the handshake's last words
            self._refused(e)

    def close(self) -> None:
        """Forget the client."""
        self.patience.cancel()
        if self.timer:
            self.timer.cancel()
        self.loop.remove_reader(self.inner)
        self.inner.close()
        if self.front.sessions.get(self.address) is self:
            del self.front.sessions[self.address]

    def _refused(self, error: Exception) -> None:
        self.front.trouble(str(error))
        self.close()

    def _answered(self) -> None:
        with contextlib.suppress(OSError, SSL.Error):
            self.engine.send(self.inner.recv(65536))
            self._flush()

    def _flush(self) -> None:
        with contextlib.suppress(SSL.WantReadError):
            while True:
                self.front.transport.sendto(self.engine.bio_read(65536), self.address)
        if self.timer:
            self.timer.cancel()
        seconds = None if self.is_up else self.engine.DTLSv1_get_timeout()
        self.timer = self.loop.call_later(seconds, self._again) if seconds is not None else None

    def _again(self) -> None:
        with contextlib.suppress(SSL.Error):
            self.engine.DTLSv1_handle_timeout()
        self._flush()
