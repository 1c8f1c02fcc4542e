"""Keys and certificates in files: made, never overwritten, private keys readable by their owner only."""

from __future__ import annotations

import csv
import datetime
import hashlib
import os
from base64 import b64encode
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

ROOT, ROOT_KEY = "root.pem", "root.key"
INTERMEDIATE, INTERMEDIATE_KEY = "intermediate.pem", "intermediate.key"
LEDGER = "issued.csv"
CERT, KEY = "cert.der", "key.der"  # what the firmware's x509.cert and x509.key name by default
LONGEST = 64  # characters of a common name (X.520)
DAY = datetime.timedelta(days=1)
YEAR = 365 * DAY


class KeysError(Exception):
    """What can't be done, and why; `hint`: what to do about it. Nothing was overwritten."""

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.hint = hint


@dataclass(frozen=True)
class Issued:
    """What a board gets: its name, the folder of its files, and what ThingsBoard knows the certificate by."""

    name: str
    folder: Path
    serial: str
    not_after: str
    credentials_id: str


@dataclass(frozen=True)
class Party:
    """A certificate and its private key."""

    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey


def make_authority(folder: Path, root: Path, name: str, years: int, password: bytes | None) -> Authority:
    """Make an intermediate CA in `folder`, signed by the root in the folder `root`, which is made if there is none.

    `password` encrypts the root's key, or opens it. `years`: how long the intermediate is valid; a new root twice that.
    """
    if (folder / INTERMEDIATE_KEY).exists() or (folder / INTERMEDIATE).exists():
        raise KeysError(f"{folder} has an intermediate CA already", "take another folder; --root may stay the same")
    root.mkdir(parents=True, exist_ok=True)
    if (root / ROOT_KEY).exists():
        top = _load(root / ROOT, root / ROOT_KEY, password)
    else:
        top = _authority(f"{name} root", None, 2 * years)
        _write(root / ROOT_KEY, _private(top.key, password), secret=True)
        _write(root / ROOT, top.certificate.public_bytes(Encoding.PEM))
    middle = _authority(f"{name} devices", top, years)
    folder.mkdir(parents=True, exist_ok=True)
    _write(folder / INTERMEDIATE_KEY, _private(middle.key, None), secret=True)
    _write(folder / INTERMEDIATE, middle.certificate.public_bytes(Encoding.PEM))
    return Authority(folder)


class Authority:
    """The intermediate CA in `folder`. KeysError when there is none, or it is damaged."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._party = _load(folder / INTERMEDIATE, folder / INTERMEDIATE_KEY, None)

    @property
    def certificate(self) -> x509.Certificate:
        """The intermediate's certificate: the one that the device profile has."""
        return self._party.certificate

    @property
    def provision_key(self) -> str:
        """What ThingsBoard makes of it: the profile's provisioning key."""
        return credentials_id(self.certificate)

    def place(self, out: Path, name: str) -> Path:
        """The folder for `name` below `out`. KeysError when it can't be a common name, or has a certificate already."""
        if not 0 < len(name) <= LONGEST or name != name.strip() or not name.isprintable():
            raise KeysError(f"{name!r}: a name here has 1 to {LONGEST} printable characters, and no space around it")
        folder = out / quote(name, safe=" @+,=").replace(".", "%2E" if set(name) == {"."} else ".")
        for file in (CERT, KEY):
            if (folder / file).exists():
                raise _exists(folder / file)
        return folder

    def issue(self, out: Path, name: str, days: int) -> Issued:
        """Make a key and a certificate for the device `name`: OUT/NAME/key.der and cert.der."""
        folder = self.place(out, name)
        key = ec.generate_private_key(ec.SECP256R1())
        folder.mkdir(parents=True, exist_ok=True)
        traditional = key.private_bytes(Encoding.DER, PrivateFormat.TraditionalOpenSSL, NoEncryption())
        _write(folder / KEY, traditional, secret=True)
        return self._certify(folder, name, key.public_key(), days)

    def sign(self, out: Path, request: x509.CertificateSigningRequest, days: int) -> Issued:
        """Make a certificate from a request; the key stays where it is: OUT/NAME/cert.der."""
        name, key = requested(request)
        return self._certify(self.place(out, name), name, key, days)

    def _certify(self, folder: Path, name: str, key: ec.EllipticCurvePublicKey, days: int) -> Issued:
        start = _now() - DAY
        end = min(start + days * DAY, self.certificate.not_valid_after_utc)
        builder = _builder(_name(name), self.certificate.subject, key, start, end)
        builder = builder.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        builder = builder.add_extension(_usage(digital_signature=True), critical=True)
        builder = builder.add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH]), critical=False)
        leaf = builder.add_extension(_issuer_id(self._party), critical=False).sign(self._party.key, hashes.SHA256())
        folder.mkdir(parents=True, exist_ok=True)
        # The board shows both: ThingsBoard finds the profile by the second one.
        _write(folder / CERT, leaf.public_bytes(Encoding.DER) + self.certificate.public_bytes(Encoding.DER))
        issued = Issued(name, folder, f"{leaf.serial_number:x}", end.isoformat(), credentials_id(leaf))
        self._note(issued)
        return issued

    def _note(self, issued: Issued) -> None:
        path = self.folder / LEDGER
        is_new = not path.exists()
        with path.open("a", newline="", encoding="utf-8") as f:
            writer = csv.writer(f)
            if is_new:
                writer.writerow(["name", "serial", "not_after", "credentials_id"])
            writer.writerow([issued.name, issued.serial, issued.not_after, issued.credentials_id])


def credentials_id(certificate: x509.Certificate) -> str:
    """What ThingsBoard knows a certificate by: hex of SHA3-256 over its base64."""
    return hashlib.sha3_256(b64encode(certificate.public_bytes(Encoding.DER))).hexdigest()


def requested(request: x509.CertificateSigningRequest) -> tuple[str, ec.EllipticCurvePublicKey]:
    """The common name and the key of a request. KeysError when they can't be certified."""
    names = [str(one.value) for one in request.subject.get_attributes_for_oid(NameOID.COMMON_NAME)]
    if len(names) != 1:
        raise KeysError("the request has no common name, or several")
    key = request.public_key()
    if not isinstance(key, ec.EllipticCurvePublicKey) or not isinstance(key.curve, ec.SECP256R1):
        raise KeysError(f"{names[0]}: the request's key is not of P-256")
    if not request.is_signature_valid:
        raise KeysError(f"{names[0]}: the request is not signed by its own key")
    return names[0], key


def read_requests(text: str) -> list[x509.CertificateSigningRequest]:
    """Every request in a text: PEM blocks, whatever stands between them (a log of a board's serial line, say)."""
    begin, end = "-----BEGIN CERTIFICATE REQUEST-----", "-----END CERTIFICATE REQUEST-----"
    found = []
    for part in text.split(begin)[1:]:
        body, mark, _ = part.partition(end)
        try:
            if not mark:
                raise ValueError
            found.append(x509.load_pem_x509_csr(f"{begin}\n{body.strip()}\n{end}\n".encode()))
        except ValueError as e:
            raise KeysError(f"request {len(found) + 1} is damaged") from e
    return found


def _authority(name: str, issuer: Party | None, years: int) -> Party:
    key = ec.generate_private_key(ec.SECP256R1())
    start = _now() - DAY
    end = start + years * YEAR
    if issuer:
        end = min(end, issuer.certificate.not_valid_after_utc)
    subject = _name(name)
    builder = _builder(subject, issuer.certificate.subject if issuer else subject, key.public_key(), start, end)
    builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=0 if issuer else 1), critical=True)
    builder = builder.add_extension(_usage(key_cert_sign=True, crl_sign=True), critical=True)
    builder = builder.add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    if issuer:
        builder = builder.add_extension(_issuer_id(issuer), critical=False)
    return Party(builder.sign(issuer.key if issuer else key, hashes.SHA256()), key)


def _builder(
    subject: x509.Name,
    issuer: x509.Name,
    key: ec.EllipticCurvePublicKey,
    start: datetime.datetime,
    end: datetime.datetime,
) -> x509.CertificateBuilder:
    builder = x509.CertificateBuilder(issuer, subject, key, x509.random_serial_number())
    return builder.not_valid_before(start).not_valid_after(end)


def _name(text: str) -> x509.Name:
    # X.520 counts characters, `cryptography` bytes.
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text, _validate=False)])


def _usage(**used: bool) -> x509.KeyUsage:
    every = (
        "digital_signature content_commitment key_encipherment data_encipherment key_agreement key_cert_sign crl_sign "
        "encipher_only decipher_only"
    )
    return x509.KeyUsage(**{name: used.get(name, False) for name in every.split()})


def _issuer_id(issuer: Party) -> x509.AuthorityKeyIdentifier:
    return x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer.key.public_key())


def _now() -> datetime.datetime:
    return datetime.datetime.now(datetime.timezone.utc).replace(microsecond=0)


def _private(key: ec.EllipticCurvePrivateKey, password: bytes | None) -> bytes:
    encryption = serialization.BestAvailableEncryption(password) if password else NoEncryption()
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, encryption)


def _load(certificate: Path, key: Path, password: bytes | None) -> Party:
    try:
        public = x509.load_pem_x509_certificate(certificate.read_bytes())
        private = serialization.load_pem_private_key(key.read_bytes(), password)
    except FileNotFoundError as e:
        raise KeysError(f"there is no {e.filename}", f"`firstboot keys ca {certificate.parent}` makes a CA") from e
    except TypeError as e:
        if password is None:
            raise KeysError(f"{key}: needs passphrase", "it is asked for with --encrypt") from e
        raise KeysError(f"{key}: has no passphrase", "leave --encrypt out") from e
    except ValueError as e:
        raise KeysError(f"{certificate} or {key} is damaged, or the passphrase is wrong") from e
    if not isinstance(private, ec.EllipticCurvePrivateKey) or _point(private.public_key()) != _point(
        public.public_key()
    ):
        raise KeysError(f"{key} is not the key of {certificate}")
    return Party(public, private)


def _point(key: object) -> bytes:
    return key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)  # type: ignore[attr-defined, no-any-return]


def _exists(path: Path) -> KeysError:
    return KeysError(f"{path} exists, and is never written over", "give another folder, or move the old files away")


def _write(path: Path, data: bytes, *, secret: bool = False) -> None:
    # O_EXCL: what exists is never written over, not even in a race. The mode is there before the first byte is.
    try:
        number = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600 if secret else 0o644)
    except FileExistsError as e:
        raise _exists(path) from e
    with os.fdopen(number, "wb") as f:
        f.write(data)
        f.flush()
        os.fsync(number)
