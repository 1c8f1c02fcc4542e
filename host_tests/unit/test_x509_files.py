"""Certificates in files, requests for them, and how new ones take the place of old ones."""

import base64
import datetime
import os
from pathlib import Path

import firstboot
import pytest
from cryptography import x509 as theirs
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from firstboot import board, log
from firstboot.store import ASKED, CANDIDATE, VERIFIED, Store

from .fakes import NAME

NOW = datetime.datetime.now(datetime.timezone.utc)
DAY = datetime.timedelta(days=1)
FILES = ["cert.der", "key.der"]
CHAIN = {"credentialsType": "X509_CERTIFICATE", "files": FILES}


def door(function, *args):
    """Through firstboot.x509, as the firmware does it."""
    return firstboot.errand("x509", function, *args)


class Party:
    """A name with a key and a certificate of the `issuer`, or of its own."""

    def __init__(self, name, issuer=None, start=-1, days=2):
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.name = theirs.Name([theirs.NameAttribute(NameOID.COMMON_NAME, name)])
        issuer = issuer or self
        builder = theirs.CertificateBuilder().subject_name(self.name).issuer_name(issuer.name).serial_number(1)
        builder = builder.not_valid_before(NOW + start * DAY).not_valid_after(NOW + (start + days) * DAY)
        certificate = builder.public_key(self.key.public_key()).sign(issuer.key, hashes.SHA256())
        self.der = certificate.public_bytes(serialization.Encoding.DER)
        traditional = serialization.PrivateFormat.TraditionalOpenSSL
        none = serialization.NoEncryption()
        self.key_der = self.key.private_bytes(serialization.Encoding.DER, traditional, none)


ROOT = Party("root")
MIDDLE = Party("middle", ROOT)
LEAF = Party(NAME, MIDDLE)
OTHER = Party(NAME, MIDDLE)


def put(certificate, key, suffix=""):
    Path("cert.der" + suffix).write_bytes(certificate)
    if key is not None:
        Path("key.der" + suffix).write_bytes(key)


def flash():
    return {path.name: path.read_bytes() for path in Path().iterdir()}


def test_leaf_chain_and_key():
    put(LEAF.der + MIDDLE.der, LEAF.key_der)
    assert door("load", FILES, None) == ([LEAF.der, MIDDLE.der], LEAF.key_der)


WRONG = {
    "cert.der is missing": (None, LEAF.key_der),
    "key.der is missing": (LEAF.der, None),
    "damaged certificate": (LEAF.der[:-1] + MIDDLE.der, LEAF.key_der),
    "damaged certificate ": (b"", LEAF.key_der),
    "damaged key": (LEAF.der, LEAF.key_der[:-1]),
    "damaged key ": (LEAF.der, b""),
    "key does not match the certificate": (LEAF.der + MIDDLE.der, OTHER.key_der),
    "chain in the wrong order": (MIDDLE.der + LEAF.der, LEAF.key_der),
    "chain in the wrong order ": (LEAF.der + ROOT.der, LEAF.key_der),
    "certificate expired": (Party(NAME, MIDDLE, -3, 2).der, None),
    "certificate not yet valid": (Party(NAME, MIDDLE, 1, 2).der, None),
}


@pytest.mark.parametrize("reason", WRONG)
def test_what_is_wrong_is_told_and_nothing_is_overwritten(reason):
    certificate, key = WRONG[reason]
    if "valid" in reason or "expired" in reason:
        party = Party(NAME, MIDDLE, *((-3, 2) if "expired" in reason else (1, 2)))
        certificate, key = party.der, party.key_der
    for name, data in zip(FILES, (certificate, key), strict=True):
        if data is not None:
            Path(name).write_bytes(data)
    before = flash()
    with pytest.raises(ValueError, match=reason.strip()) as error:
        door("load", FILES, None)
    assert "is missing" in reason or "cert.der, key.der" in str(error.value)
    assert flash() == before


def test_a_chip_holds_the_key():
    put(LEAF.der, b"a reference")
    assert door("load", FILES, lambda key, digest: None) == ([LEAF.der], b"a reference")


# Requests


def write_config():
    Path("config.json").write_text(
        '{"server":{"host":"h"},"credentials":"chain","tls":{"enabled":true},"provision":{"name":"' + NAME + '"}}'
    )


def test_a_request_makes_the_key_once_and_never_writes_over_one(capsys):
    write_config()
    door("request")
    said, key = capsys.readouterr().out, Path("key.der").read_bytes()
    csr = theirs.load_pem_x509_csr(said.encode())
    assert csr.is_signature_valid and csr.subject.rfc4514_string() == "CN=" + NAME
    private = serialization.load_der_private_key(key, None)
    assert csr.public_key() == private.public_key()
    door("request")
    again = theirs.load_pem_x509_csr(capsys.readouterr().out.encode())
    assert again.public_key() == csr.public_key() and Path("key.der").read_bytes() == key

    # With a certificate there, the next request is for a new key.
    Path("cert.der").write_bytes(LEAF.der)
    door("request")
    new = theirs.load_pem_x509_csr(capsys.readouterr().out.encode())
    assert new.public_key() != csr.public_key() and Path("key.der").read_bytes() == key
    assert serialization.load_der_private_key(Path("key.der.new").read_bytes(), None).public_key() == new.public_key()


def test_a_damaged_key_gets_no_request():
    write_config()
    Path("key.der").write_bytes(b"0\0")
    with pytest.raises(ValueError, match="damaged key"):
        door("request")
    assert Path("key.der").read_bytes() == b"0\0"


# Rotation


def record(state, credentials):
    store = Store(board.slots())
    store.save(state, credentials)


def stored():
    store = Store(board.slots())
    return store.state, store.credentials


def test_a_new_pair_waits_beside_the_old_one(capsys):
    own = door("make", NAME)
    record(VERIFIED, own)
    certificate = door("rotate")
    state, credentials = stored()
    new = credentials.pop("next")
    assert (state, credentials) == (VERIFIED, own)
    assert new["certificate"] == certificate and new["key"] != own["key"]
    made = theirs.load_der_x509_certificate(base64.b64decode(certificate))
    assert made.subject.rfc4514_string() == "CN=" + NAME
    assert door("rotate") == certificate  # an order that comes twice makes one pair
    log(new["key"], own["key"])
    assert new["key"] not in capsys.readouterr().out


def test_a_new_chain_is_checked_first():
    put(LEAF.der + MIDDLE.der, LEAF.key_der)
    record(VERIFIED, CHAIN)
    with pytest.raises(ValueError, match="cert.der.new is missing"):
        door("rotate")
    put(MIDDLE.der + OTHER.der, OTHER.key_der, ".new")
    with pytest.raises(ValueError, match="wrong order"):
        door("rotate")
    put(OTHER.der, None, ".new")
    Path("key.der.new").unlink()
    with pytest.raises(ValueError, match="does not match"):  # without a new key, it is for the old one
        door("rotate")
    assert stored() == (VERIFIED, CHAIN)
    put(OTHER.der + MIDDLE.der, OTHER.key_der, ".new")
    assert door("rotate") == NAME
    assert stored() == (ASKED, {**CHAIN, "files": ["cert.der.new", "key.der.new"], "next": CHAIN})


def test_a_new_certificate_for_the_same_key():
    put(LEAF.der, LEAF.key_der)
    renewed = Party.__new__(Party)
    renewed.__dict__.update(LEAF.__dict__)
    builder = theirs.CertificateBuilder().subject_name(LEAF.name).issuer_name(MIDDLE.name).serial_number(2)
    builder = builder.not_valid_before(NOW - DAY).not_valid_after(NOW + DAY).public_key(LEAF.key.public_key())
    der = builder.sign(MIDDLE.key, hashes.SHA256()).public_bytes(serialization.Encoding.DER)
    put(der, None, ".new")
    record(VERIFIED, CHAIN)
    assert door("rotate") == NAME
    assert door("load", stored()[1]["files"], None) == ([der], LEAF.key_der)
    assert door("settle", stored()[1]) == CHAIN
    assert flash().keys() >= {"cert.der", "key.der"} and "cert.der.new" not in flash()
    assert door("load", FILES, None) == ([der], LEAF.key_der)


@pytest.mark.parametrize("state", [CANDIDATE, ASKED])
def test_only_what_the_server_knows_is_rotated(state):
    record(state, CHAIN)
    with pytest.raises(ValueError, match="knows this board by no certificate"):
        door("rotate")
    record(VERIFIED, {"credentialsType": "ACCESS_TOKEN", "token": "t"})
    with pytest.raises(ValueError, match="knows this board by no certificate"):
        door("rotate")


@pytest.mark.parametrize("cut", range(3))
def test_settling_goes_on_after_a_cut_at_any_renaming(monkeypatch, cut):
    put(LEAF.der, LEAF.key_der)
    put(OTHER.der, OTHER.key_der, ".new")
    new = {**CHAIN, "files": ["cert.der.new", "key.der.new"], "next": CHAIN}
    left = [cut]
    rename = os.rename

    def dying(*names):
        if not left[0]:
            raise InterruptedError
        left[0] -= 1
        rename(*names)

    monkeypatch.setattr(os, "rename", dying)
    if cut < 2:
        with pytest.raises(InterruptedError):
            door("settle", new)
        # The next boot reads new certificate and new key, wherever they are.
        assert door("load", new["files"], None) == ([OTHER.der], OTHER.key_der)
        monkeypatch.setattr(os, "rename", rename)
    assert door("settle", new) == CHAIN
    assert door("load", FILES, None) == ([OTHER.der], OTHER.key_der)
    assert set(flash()) == set(FILES)


def test_swap():
    old, new = {"a": 1}, {"b": 2}
    assert door("swap", {**old, "next": new}) == {**new, "next": old}
    assert door("swap", door("swap", {**old, "next": new})) == {**old, "next": new}
