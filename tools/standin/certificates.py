"""Certificates made when they are needed: a CA, and server certificates both sound and unsound."""

from __future__ import annotations

import datetime
import ipaddress
from dataclasses import dataclass
from pathlib import Path

import trustme
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from ..private import write_private

HOSTS = ("localhost", "127.0.0.1")
# Server certificates that a client must refuse, besides the good one.
KINDS = ("good", "expired", "not yet valid", "wrong host", "self-signed", "wrong CA")
_DAY = datetime.timedelta(days=1)


@dataclass(frozen=True)
class Pair:
    """A certificate chain and its key, as PEM files."""

    certificate: Path
    key: Path


class Authority:
    """A CA on P-256 that is made at once; its certificate is in the files `ca_pem` and `ca_der` below `folder`.

    With `kept`, a PEM file, its certificate, DER and key lie there instead, and a pair that lies there already is used
    again, so that boards that hold the CA trust the next run as well. OSError; ValueError for a damaged file, and for
    one that would be written over.
    """

    def __init__(self, folder: Path, kept: Path | None = None) -> None:
        self.folder = folder
        self.ca_pem = kept or folder / "ca.pem"
        self.ca_der = self.ca_pem.with_suffix(".der")
        key = self.ca_pem.with_suffix(".key")
        if len({self.ca_pem, self.ca_der, key}) < 3:
            raise ValueError("name the PEM file: .der and .key go beside it")
        if kept and kept.exists() and key.exists():
            self._ca = trustme.CA.from_pem(kept.read_bytes(), key.read_bytes())
        else:
            for file, lacks in ((self.ca_pem, key), (key, self.ca_pem), (self.ca_der, key)):
                if file.exists():
                    raise ValueError(f"{file} exists, without {lacks.name}; it is never written over")
            self._ca = trustme.CA(organization_name="firstboot stand-in")
            self.ca_pem.write_bytes(self._ca.cert_pem.bytes())
            write_private(key, self._ca.private_key_pem.bytes())
        certificate = x509.load_pem_x509_certificate(self._ca.cert_pem.bytes())
        self.ca_der.write_bytes(certificate.public_bytes(serialization.Encoding.DER))

    def server(self, kind: str = "good") -> Pair:
        """A server certificate for localhost and 127.0.0.1: one of KINDS."""
        now = datetime.datetime.now(datetime.timezone.utc)
        if kind == "self-signed":
            return self._keep(kind, *_self_signed(now))
        hosts = [*HOSTS]
        ca, start, end = self._ca, now - _DAY, now + 365 * _DAY
        if kind == "expired":
            start, end = now - 2 * _DAY, now - _DAY
        elif kind == "not yet valid":
            start, end = now + _DAY, now + 2 * _DAY
        elif kind == "wrong host":
            hosts = ["elsewhere.example"]
        elif kind == "wrong CA":
            ca = trustme.CA(organization_name="somebody else")
        elif kind != "good":
            raise ValueError(f"{kind}: not one of {', '.join(KINDS)}")
        leaf = ca.issue_cert(*hosts, not_before=start, not_after=end)
        chain = b"".join(blob.bytes() for blob in leaf.cert_chain_pems)
        return self._keep(kind, chain, leaf.private_key_pem.bytes())

    def _keep(self, kind: str, chain: bytes, key: bytes) -> Pair:
        name = kind.lower().replace(" ", "-")
        pair = Pair(self.folder / f"{name}.pem", self.folder / f"{name}.key")
        pair.certificate.write_bytes(chain)
        write_private(pair.key, key)
        return pair


def _self_signed(now: datetime.datetime) -> tuple[bytes, bytes]:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    hosts = x509.SubjectAlternativeName([x509.DNSName("localhost"), x509.IPAddress(ipaddress.IPv4Address("127.0.0.1"))])
    builder = x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
    builder = builder.not_valid_before(now - _DAY).not_valid_after(now + 365 * _DAY)
    certificate = builder.add_extension(hosts, False).sign(key, hashes.SHA256())
    secret = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return certificate.public_bytes(serialization.Encoding.PEM), secret
