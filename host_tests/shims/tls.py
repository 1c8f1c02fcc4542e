"""MicroPython's `tls` on CPython's ssl: certificates and keys come as bytes (DER or PEM), the handshake when needed."""

import select
import ssl
import tempfile

from micro import Socket

PROTOCOL_TLS_CLIENT, PROTOCOL_TLS_SERVER = 0, 1
CERT_NONE, CERT_OPTIONAL, CERT_REQUIRED = 0, 1, 2


class SSLContext:
    def __init__(self, protocol):
        self._client = protocol == PROTOCOL_TLS_CLIENT
        self._real = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT if self._client else ssl.PROTOCOL_TLS_SERVER)
        self._real.check_hostname = False
        self._chain = []
        self.verify_mode = CERT_REQUIRED if self._client else CERT_NONE

    @property
    def verify_mode(self):
        return self._mode

    @verify_mode.setter
    def verify_mode(self, mode):
        self._mode = mode
        self._real.check_hostname = False
        self._real.verify_mode = (ssl.CERT_NONE, ssl.CERT_OPTIONAL, ssl.CERT_REQUIRED)[mode]

    def load_verify_locations(self, cadata):
        try:
            self._real.load_verify_locations(cadata=cadata.decode() if _is_pem(cadata) else bytes(cadata))
        except ssl.SSLError:
            raise ValueError("invalid cert") from None

    def load_cert_chain(self, cert, key):
        # mbedTLS adds each certificate to the chain. ssl replaces what it has, and takes nothing but files.
        self._chain += [cert if _is_pem(cert) else ssl.DER_cert_to_PEM_cert(bytes(cert)).encode(), b"\n"]
        with tempfile.NamedTemporaryFile(suffix=".pem") as f:
            f.write(b"".join(self._chain) + (key if _is_pem(key) else _key_as_pem(bytes(key))))
            f.flush()
            self._real.load_cert_chain(f.name)

    def get_ciphers(self):
        return [cipher["name"] for cipher in self._real.get_ciphers()]

    def set_ciphers(self, ciphers):
        self._real.set_ciphers(":".join(ciphers))

    def wrap_socket(self, sock, server_side=False, server_hostname=None, do_handshake_on_connect=True):
        if self._client and self._mode == CERT_REQUIRED and server_hostname is None:
            raise ValueError("CERT_REQUIRED requires server_hostname")
        self._real.check_hostname = self._client and self._mode == CERT_REQUIRED
        real = self._real.wrap_socket(
            getattr(sock, "real", sock), server_side, do_handshake_on_connect=False, server_hostname=server_hostname
        )
        if do_handshake_on_connect:
            _shake_hands(real)
        return Socket(real=real)


def _shake_hands(real):
    # Blocks even where the socket does not, as MicroPython's does.
    while True:
        try:
            real.do_handshake()
            return
        except ssl.SSLWantReadError:
            select.select([real], [], [])
        except ssl.SSLWantWriteError:
            select.select([], [real], [])
        except ssl.SSLCertVerificationError as e:
            raise ValueError(e.verify_message) from None


def _is_pem(data):
    return data.lstrip().startswith(b"-----BEGIN")


def _key_as_pem(der):
    from cryptography.hazmat.primitives.serialization import (
        Encoding,
        NoEncryption,
        PrivateFormat,
        load_der_private_key,
    )

    try:
        key = load_der_private_key(der, None)
    except ValueError:
        raise ValueError("invalid key") from None
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
