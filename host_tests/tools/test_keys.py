"""`firstboot keys`: what it makes is sound to OpenSSL and to the firmware, and nothing is ever written over."""

import base64
import hashlib
import json
import os
import shutil
import stat
import subprocess

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from firstboot.x509 import cert, p256, reader
from typer.testing import CliRunner

from tools import cli
from tools.keys import Authority, KeysError, make_authority
from tools.keys.authority import read_requests

openssl = pytest.mark.skipif(not shutil.which("openssl"), reason="there is no openssl program")


def keys(*arguments, code=0, **more):
    """Run `firstboot keys ...`; its JSON where --json was given, else what it said."""
    said = CliRunner().invoke(cli.app, ["keys", *map(str, arguments)], **more)
    assert said.exit_code == code, said.output
    return json.loads(said.stdout) if "--json" in arguments else said.output


@pytest.fixture
def ca(tmp_path):
    """The folder of a CA."""
    folder = tmp_path / "ca"
    make_authority(folder, folder / "root", "Acme", 10, None)
    return folder


def mode(path):
    return stat.S_IMODE(path.stat().st_mode)


def tree(folder):
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def split(data):
    """The two certificates of a cert.der."""
    leaf, middle = reader.read_chain(data)
    return x509.load_der_x509_certificate(leaf), x509.load_der_x509_certificate(middle)


def request_of(name, key, algorithm=None):
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text) for text in ([name] if name else [])])
    made = x509.CertificateSigningRequestBuilder().subject_name(subject).sign(key, algorithm or hashes.SHA256())
    return made.public_bytes(serialization.Encoding.PEM).decode()


def test_a_ca_and_its_boards(tmp_path):
    folder = tmp_path / "ca"
    made = keys("ca", folder, "--name", "Acme", "--json")
    root = x509.load_pem_x509_certificate((folder / "root" / "root.pem").read_bytes())
    middle = x509.load_pem_x509_certificate((folder / "intermediate.pem").read_bytes())
    assert made["profile_certificate"] == str(folder / "intermediate.pem")
    text = base64.b64encode(middle.public_bytes(serialization.Encoding.DER))
    assert made["provision_key"] == hashlib.sha3_256(text).hexdigest()
    root.verify_directly_issued_by(root)
    middle.verify_directly_issued_by(root)

    issued = keys("issue", folder, "press-17", "Gerät 板", "--json")["issued"]
    assert [one["name"] for one in issued] == ["press-17", "Gerät 板"]
    for one in issued:
        place = folder / "boards" / one["folder"].rsplit("/", 1)[1]
        leaf, second = split((place / "cert.der").read_bytes())
        leaf.verify_directly_issued_by(middle)
        assert second == middle
        reader.check((place / "cert.der").read_bytes()[: len(leaf.public_bytes(serialization.Encoding.DER))], None)
        assert reader.read_cert(leaf.public_bytes(serialization.Encoding.DER))[0] == one["name"]
        d = reader.read_key((place / "key.der").read_bytes())
        assert p256.public(d) == leaf.public_key().public_bytes(
            serialization.Encoding.X962, serialization.PublicFormat.UncompressedPoint
        )
        shown = base64.b64encode(leaf.public_bytes(serialization.Encoding.DER))
        assert one["credentials_id"] == hashlib.sha3_256(shown).hexdigest()
    ledger = (folder / "issued.csv").read_text(encoding="utf-8").splitlines()
    assert len(ledger) == 3 and "Gerät 板" in ledger[2]
    secrets = [folder / "intermediate.key", folder / "root" / "root.key", place / "key.der"]
    assert [mode(path) for path in secrets] == [0o600] * 3


def test_what_a_leaf_may_do(ca):
    extensions = split((Authority(ca).issue(ca / "out", "a", 30).folder / "cert.der").read_bytes())[0].extensions
    basic = extensions.get_extension_for_class(x509.BasicConstraints)
    usage = extensions.get_extension_for_class(x509.KeyUsage).value
    assert basic.critical and not basic.value.ca
    assert usage.digital_signature and not usage.key_cert_sign
    assert list(extensions.get_extension_for_class(x509.ExtendedKeyUsage).value) == [ExtendedKeyUsageOID.CLIENT_AUTH]
    middle = Authority(ca).certificate.extensions
    assert middle.get_extension_for_class(x509.BasicConstraints).value.path_length == 0


@openssl
def test_openssl_accepts_the_chain(ca, tmp_path):
    place = Authority(ca).issue(ca / "out", "press-17", 30).folder
    leaf = tmp_path / "leaf.pem"
    leaf.write_bytes(split((place / "cert.der").read_bytes())[0].public_bytes(serialization.Encoding.PEM))
    command = ["openssl", "verify", "-x509_strict", "-purpose", "sslclient", "-CAfile", ca / "root" / "root.pem"]
    said = subprocess.run(
        [*command, "-untrusted", ca / "intermediate.pem", leaf], capture_output=True, text=True, timeout=60
    )
    assert said.returncode == 0, said.stdout + said.stderr
    said = subprocess.run(
        ["openssl", "ec", "-inform", "DER", "-in", place / "key.der", "-noout", "-check"],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert said.returncode == 0, said.stderr


def test_a_leaf_never_outlives_its_issuer(ca):
    leaf, middle = split((Authority(ca).issue(ca / "out", "a", 36500).folder / "cert.der").read_bytes())
    assert leaf.not_valid_after_utc == middle.not_valid_after_utc


def test_requests_of_boards(ca, tmp_path):
    d = p256.generate(os.urandom)
    mine = cert.pem(cert.request(d, "press-17", os.urandom), "CERTIFICATE REQUEST")
    log = tmp_path / "serial.log"
    other = ec.generate_private_key(ec.SECP256R1())
    log.write_text(f"   0.001 firstboot\n{mine}>>> \n" + request_of("press-18", other).replace("\n", "\r\n"))
    issued = keys("issue", ca, "--request", log, "--json")["issued"]
    assert [one["name"] for one in issued] == ["press-17", "press-18"]
    place = ca / "boards" / "press-17"
    assert [path.name for path in place.iterdir()] == ["cert.der"]
    reader.check(reader.read_chain((place / "cert.der").read_bytes())[0], cert.key_der(d, p256.public(d)))


def test_names_from_a_file(ca, tmp_path):
    names = tmp_path / "names.txt"
    names.write_text("# first floor\npress-1\n\n  press-2  \n")
    said = keys("issue", ca, "press-0", "--names", names)
    assert "3 issued" in said
    assert sorted(path.name for path in (ca / "boards").iterdir()) == ["press-0", "press-1", "press-2"]


def test_nothing_is_written_over(ca):
    keys("issue", ca, "a")
    before = tree(ca)
    assert "never written over" in keys("issue", ca, "b", "a", code=1)
    assert "exists" in keys("issue", ca, "a", "--json", code=1)["error"]["message"]
    assert "has an intermediate CA already" in keys("ca", ca, code=1)
    assert tree(ca) == before  # not even b, which was in the list before a
    with pytest.raises(KeysError, match="exists"):
        Authority(ca).issue(ca / "boards", "a", 1)
    assert tree(ca) == before


@pytest.mark.parametrize("name", ["", "x" * 65, " a", "a ", "a\nb", "a\0"])
def test_names_that_can_not_be(ca, name):
    with pytest.raises(KeysError, match="printable"):
        Authority(ca).issue(ca / "out", name, 1)


def test_no_name_leaves_the_folder(ca):
    out = ca / "out"
    for name in ("..", ".", "../../up", "/etc", "a/b", "c\\d", "a.b"):
        place = Authority(ca).issue(out, name, 1).folder
        assert place.resolve().parent == out.resolve()
    assert (out / "a.b").is_dir()


def test_bad_lists(ca, tmp_path):
    before = tree(ca)
    log = tmp_path / "log"
    assert "no device names" in keys("issue", ca, code=1)
    assert "a is there twice" in keys("issue", ca, "a", "a", code=1)
    log.write_text("nothing here")
    assert "no request in it" in keys("issue", ca, "--request", log, code=1)
    key = ec.generate_private_key(ec.SECP256R1())
    good = request_of("a", key)
    assert "a is there twice" in (log.write_text(good), keys("issue", ca, "a", "--request", log, code=1))[1]
    log.write_text(good.replace("M", "N", 3))
    assert "request 1 is damaged" in keys("issue", ca, "--request", log, code=1)
    log.write_text(good[:-40])
    assert "request 1 is damaged" in keys("issue", ca, "--request", log, code=1)
    log.write_text(request_of("a", ec.generate_private_key(ec.SECP384R1())))
    assert "not of P-256" in keys("issue", ca, "--request", log, code=1)
    log.write_text(request_of(None, key))
    assert "no common name" in keys("issue", ca, "--request", log, code=1)
    der = bytearray(base64.b64decode("".join(good.splitlines()[1:-1])))
    der[-1] ^= 1
    body = base64.b64encode(der).decode()
    log.write_text(f"-----BEGIN CERTIFICATE REQUEST-----\n{body}\n-----END CERTIFICATE REQUEST-----\n")
    assert "not signed by its own key" in keys("issue", ca, "--request", log, code=1)
    latin = tmp_path / "latin.txt"
    latin.write_bytes("Gerät".encode("latin-1"))
    for arguments, says in (
        (("--names", tmp_path / "none"), f"{tmp_path / 'none'} can't be read: No such file"),
        (("--names", latin), f"{latin} is not text in UTF-8"),
        (("--request", tmp_path / "none"), f"{tmp_path / 'none'} can't be read: No such file"),
    ):
        assert says in keys("issue", ca, *arguments, "--json", code=1)["error"]["message"]
    (tmp_path / "file").touch()
    assert keys("ca", tmp_path / "file" / "x", "--json", code=1)["error"]["message"].startswith(str(tmp_path / "file"))
    assert tree(ca) == before
    assert len(read_requests(good + good)) == 2


def test_a_ca_that_is_damaged_or_not_there(ca, tmp_path):
    with pytest.raises(KeysError, match="there is no .*intermediate"):
        Authority(tmp_path)
    (ca / "intermediate.key").chmod(0o600)
    make_authority(tmp_path / "other", tmp_path / "other", "b", 1, None)
    shutil.copy(tmp_path / "other" / "intermediate.key", ca / "intermediate.key")
    with pytest.raises(KeysError, match="is not the key of"):
        Authority(ca)
    (ca / "intermediate.key").write_bytes(b"junk")
    assert "damaged" in keys("issue", ca, "a", code=1)


def test_a_second_intermediate_of_an_encrypted_root(tmp_path, monkeypatch):
    root = tmp_path / "stick"
    assert "no terminal to ask for the passphrase" in keys("ca", tmp_path / "one", "--encrypt", code=1)
    monkeypatch.setattr("tools.console.is_terminal", lambda: True)
    keys("ca", tmp_path / "one", "--root", root, "--encrypt", input="secret\nsecret\n")
    assert b"ENCRYPTED" in (root / "root.key").read_bytes()
    before = tree(root)
    needs = keys("ca", tmp_path / "two", "--root", root, "--json", code=1)["error"]
    assert "needs passphrase" in needs["message"] and needs["hint"] == "it is asked for with --encrypt"
    assert "passphrase is wrong" in keys("ca", tmp_path / "two", "--root", root, "--encrypt", code=1, input="wrong\n")
    assert not (tmp_path / "two" / "intermediate.key").exists()
    keys("ca", tmp_path / "two", "--root", root, "--encrypt", input="secret\n")
    top = x509.load_pem_x509_certificate((root / "root.pem").read_bytes())
    for folder in ("one", "two"):
        x509.load_pem_x509_certificate((tmp_path / folder / "intermediate.pem").read_bytes()).verify_directly_issued_by(
            top
        )
    assert tree(root) == before


def test_a_thousand_leaves(ca):
    names = ca / "names"
    names.write_text("\n".join(f"board-{i}" for i in range(1000)))
    issued = keys("issue", ca, "--names", names, "--json")["issued"]
    assert len({one["serial"] for one in issued}) == len({one["credentials_id"] for one in issued}) == 1000
    middle = Authority(ca).certificate
    for one in issued:
        leaf, second = split((ca / "boards" / one["name"] / "cert.der").read_bytes())
        leaf.verify_directly_issued_by(middle)
        assert second == middle
