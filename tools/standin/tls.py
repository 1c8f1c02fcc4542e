"""TLS before a transport, on pyOpenSSL: any client certificate is taken, as ThingsBoard does (contract 2.4).

Python's own ssl can't accept a certificate whose CA it does not know, nor does asyncio send the alert of a handshake
that failed; hence this protocol on a memory BIO.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from OpenSSL import SSL

from .certificates import Pair
from .wire import Wire, keep

HANDSHAKE = 10  # seconds
# Fatal alert certificate_unknown, what a Java server sends when its trust manager refuses a chain.
_REFUSED = b"\x15\x03\x03\x00\x02\x02\x2e"


def context(pair: Pair, *, wants_client: bool, newest: str = "1.3") -> SSL.Context:
    """What a port needs to speak TLS 1.2 and up to `newest`. With `wants_client` it asks for a certificate."""
    made = SSL.Context(SSL.TLS_SERVER_METHOD)
    made.use_certificate_chain_file(str(pair.certificate))
    made.use_privatekey_file(str(pair.key))
    made.check_privatekey()
    made.set_min_proto_version(SSL.TLS1_2_VERSION)
    made.set_max_proto_version({"1.2": SSL.TLS1_2_VERSION, "1.3": SSL.TLS1_3_VERSION}[newest])
    # Each connection shows its own certificate: a resumed session would not.
    made.set_session_cache_mode(SSL.SESS_CACHE_OFF)
    made.set_options(SSL.OP_NO_TICKET)
    if wants_client:
        made.set_verify(SSL.VERIFY_PEER, lambda *_: True)
    return made


def is_signed(chain: list[x509.Certificate]) -> bool:
    """True when each certificate is signed by the key of the next one; names, dates and trust don't count."""
    return all(_signed_by(one, issuer.public_key()) for one, issuer in zip(chain, chain[1:], strict=False))


def _signed_by(certificate: x509.Certificate, key: Any) -> bool:
    try:
        arguments = [certificate.signature, certificate.tbs_certificate_bytes]
        if isinstance(key, ec.EllipticCurvePublicKey):
            arguments.append(certificate.signature_algorithm_parameters)  # type: ignore[arg-type]
        elif isinstance(key, rsa.RSAPublicKey):
            arguments += [certificate.signature_algorithm_parameters, certificate.signature_hash_algorithm]  # type: ignore[list-item]
        key.verify(*arguments)
    except (InvalidSignature, UnsupportedAlgorithm, ValueError, TypeError, AttributeError):
        return False
    return True


class Tls(asyncio.Protocol):
    """The network's side: shakes hands, then hands `inner` a transport of its own.

    `admit(chain)` is called with the client's chain, leaf first, before the handshake's last words are sent; the
    chain's signatures are sound then. `trouble(wire)` is called when there will be no TLS.
    """

    def __init__(
        self,
        context: SSL.Context,
        wire: Wire,
        inner: asyncio.Protocol,
        admit: Callable[[list[x509.Certificate]], None],
        trouble: Callable[[Wire], None],
    ) -> None:
        self.engine = SSL.Connection(context, None)
        self.engine.set_accept_state()
        self.chain: list[x509.Certificate] = []
        self.is_up = False
        self._wire = wire
        self._inner = inner
        self._admit = admit
        self._trouble = trouble
        self._network: asyncio.Transport = None  # type: ignore[assignment]
        self._patience: asyncio.TimerHandle | None = None

    # What asyncio calls

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """A client has connected."""
        self._network = transport  # type: ignore[assignment]
        self._patience = asyncio.get_running_loop().call_later(HANDSHAKE, self._fail, "no handshake in time")

    def data_received(self, data: bytes) -> None:
        """Records, whole or in parts."""
        keep(self._wire.raw, data)
        self.engine.bio_write(data)
        if self.is_up or self._shake():
            self._read()

    def eof_received(self) -> bool:
        """The client has closed its side."""
        if self.is_up:
            self._inner.eof_received()
        else:
            self._fail("the client hung up in the handshake")
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection is gone."""
        if self._patience:
            self._patience.cancel()
        if self.is_up:
            self._inner.connection_lost(exc)
        elif exc:
            self._fail(f"connection lost in the handshake ({exc})")

    def pause_writing(self) -> None:
        """The network is slower than the server."""
        if self.is_up:
            self._inner.pause_writing()

    def resume_writing(self) -> None:
        """It has caught up."""
        if self.is_up:
            self._inner.resume_writing()

    # What the inner transport calls

    def send(self, data: bytes) -> None:
        """Encrypt and send."""
        if data and not self._network.is_closing():
            self.engine.sendall(data)
            self._flush()

    def close(self) -> None:
        """Say close_notify and close."""
        if not self._network.is_closing():
            try:
                self.engine.shutdown()
                self._flush()
            except SSL.Error:  # the other side is past talking to
                pass
            self._network.close()

    def abort(self) -> None:
        """Close without a word."""
        self._network.abort()

    def _shake(self) -> bool:
        try:
            self.engine.do_handshake()
        except SSL.WantReadError:
            self._flush()
            return False
        except SSL.Error as e:
            self._flush()  # the alert
            self._fail(_reason(e))
            return False
        try:
            self.chain = client_chain(self.engine)
        except ValueError as e:
            self._fail(f"a certificate that can't be read: {e}")
            return False
        if not is_signed(self.chain):
            # The server's Finished is still here, unsent: the client gets an alert in its place. With TLS 1.3 the
            # client needs no Finished of ours; for it the connection ends.
            self._pending()
            if self.engine.get_protocol_version() == SSL.TLS1_2_VERSION:
                self._network.write(_REFUSED)
            self._fail("the client's chain is not signed link by link")
            return False
        if self.chain:
            self._admit(self.chain)
        self._flush()
        if self._patience:
            self._patience.cancel()
        self.is_up = True
        self._inner.connection_made(Transport(self, self._network))
        return True

    def _read(self) -> None:
        while not self._network.is_closing():
            try:
                data = self.engine.recv(65536)
            except SSL.WantReadError:
                break
            except SSL.ZeroReturnError:
                self._inner.eof_received()
                self.close()
                break
            except SSL.Error as e:
                self._flush()
                self._fail(_reason(e))
                break
            self._inner.data_received(data)
        self._flush()

    def _fail(self, why: str) -> None:
        if self._wire.trouble is None:
            self._wire.trouble = why
            self._trouble(self._wire)
        self._network.close()

    def _pending(self) -> bytes:
        parts = []
        try:
            while True:
                parts.append(self.engine.bio_read(65536))
        except SSL.WantReadError:
            return b"".join(parts)

    def _flush(self) -> None:
        data = self._pending()
        if data and not self._network.is_closing():
            self._network.write(data)


class Transport(asyncio.Transport):
    """What the protocol behind TLS writes to."""

    def __init__(self, tls: Tls, network: asyncio.Transport) -> None:
        super().__init__()
        self._tls = tls
        self._network = network
        self.abort = network.abort  # type: ignore[method-assign]
        self.is_closing = network.is_closing  # type: ignore[method-assign]
        self.pause_reading = network.pause_reading  # type: ignore[method-assign]
        self.resume_reading = network.resume_reading  # type: ignore[method-assign]
        self.is_reading = network.is_reading  # type: ignore[method-assign]
        self.set_write_buffer_limits = network.set_write_buffer_limits  # type: ignore[method-assign]
        self.get_write_buffer_size = network.get_write_buffer_size  # type: ignore[method-assign]

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        """ "client_chain": the client's certificates; "sslcontext"; else what the socket has."""
        if name == "client_chain":
            return self._tls.chain
        if name == "sslcontext":
            return self._tls.engine.get_context()
        return self._network.get_extra_info(name, default)

    def write(self, data: Any) -> None:
        """Encrypt and send."""
        self._tls.send(bytes(data))

    def writelines(self, list_of_data: Any) -> None:
        """Encrypt and send."""
        self._tls.send(b"".join(list_of_data))

    def can_write_eof(self) -> bool:
        """TLS can't close one side only."""
        return False

    def close(self) -> None:
        """Close both sides."""
        self._tls.close()


def client_chain(engine: SSL.Connection) -> list[x509.Certificate]:
    """What the client presented, leaf first; ValueError for a certificate that can't be read."""
    leaf = engine.get_peer_certificate(as_cryptography=True)
    if leaf is None:
        return []
    others = engine.get_peer_cert_chain(as_cryptography=True) or []
    return [leaf, *(c for c in others if c != leaf)]


def _reason(error: SSL.Error) -> str:
    details = error.args[0] if error.args else None
    return str(details[-1][-1]) if isinstance(details, list) and details else type(error).__name__
