"""The seam for a chip that holds the key: what `tls` is given, and what comes of its asking to sign."""

import hashlib
import sys
from pathlib import Path
from types import ModuleType

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, utils
from firstboot import errand
from firstboot.link import LinkError, tls
from firstboot.x509 import cert, p256, reader

from .test_cert import seeded

SLOT = 0x10003  # the reference to the chip's key, in the place of a private key
IDENTITY = {"credentialsType": "X509_CERTIFICATE", "files": ["cert.der", "key.der"]}


class Context:
    """`tls.SSLContext` of a port without MICROPY_PY_SSL_ECDSA_SIGN_ALT."""

    __slots__ = ("loaded",)

    def __init__(self):
        self.loaded = []

    def load_cert_chain(self, certificate, key):
        self.loaded.append((certificate, key))


class AltContext(Context):
    """The same, of a port with it; handshake() does what mbedTLS does in one."""

    __slots__ = ("ecdsa_sign_callback",)

    def handshake(self, transcript):
        secret = p256.octets(reader.read_key(self.loaded[0][1])).lstrip(b"\0")
        return self.ecdsa_sign_callback(bytearray(secret), bytearray(hashlib.sha256(transcript).digest()))


@pytest.fixture
def chip(monkeypatch):
    """A software secure element with a key in its slot; returns that key's certificate."""
    key = ec.generate_private_key(ec.SECP256R1())

    def sign(reference, digest):
        assert int.from_bytes(reference, "big") == SLOT
        return key.sign(bytes(digest), ec.ECDSA(utils.Prehashed(hashes.SHA256())))

    module = ModuleType("secure_element")
    module.sign = sign
    monkeypatch.setitem(sys.modules, "secure_element", module)
    secret = key.private_numbers().private_value
    certificate = cert.self_signed(secret, "board", seeded("chip"), None)
    Path("cert.der").write_bytes(certificate)
    Path("key.der").write_bytes(cert.key_der(SLOT, p256.public(SLOT)))
    return key.public_key()


def test_without_a_chip_there_is_no_signer():
    assert errand("x509.chip", "signer") is None


def test_the_chip_signs_the_handshake_and_the_key_file_is_its_reference(chip):
    context = AltContext()
    tls._present(context, IDENTITY)
    assert context.loaded == [(Path("cert.der").read_bytes(), Path("key.der").read_bytes())]
    signature = context.handshake(b"all that was said")
    chip.verify(signature, b"all that was said", ec.ECDSA(hashes.SHA256()))


def test_a_port_that_can_not_ask_a_chip_says_so(chip):
    with pytest.raises(LinkError, match="secure_element, but this MicroPython's tls"):
        tls._present(Context(), IDENTITY)


def test_keys_in_software_are_not_disturbed():
    d = p256.generate(seeded("software"))
    certificate, key = cert.self_signed(d, "board", seeded("s")), cert.key_der(d, p256.public(d))
    context = Context()
    tls._present(context, {"certificate": cert.text(certificate), "key": cert.text(key)})
    assert context.loaded == [(certificate, key)]
