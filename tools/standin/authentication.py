"""Who connects: basic matching and MQTT 3.1.1 return codes (contract 2.1 to 2.4)."""

from __future__ import annotations

import base64
import datetime

from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import Certificate
from cryptography.x509.oid import NameOID

from .provisioning import provision_by_chain
from .registry import Device, Registry, sha3

ACCEPTED = 0
BAD_CLIENT_ID = 2
UNAVAILABLE = 3
NOT_AUTHORIZED = 5


def match(registry: Registry, client_id: str, username: str | None, password: str | None) -> Device | None:
    """The device of a CONNECT without a certificate, by contract 2.2; None when it is refused."""
    if not username:
        device = registry.device_by_credentials(sha3(client_id))
        if device and device.credentials.type == "MQTT_BASIC" and _equal(device, client_id, None, password):
            return device
        return None
    device = registry.device_by_credentials(sha3(f"{client_id}|{username}" if client_id else username))
    if device and device.credentials.type == "MQTT_BASIC":
        if _equal(device, client_id, username, password):
            return device
        if _equal(device, client_id, username, device.credentials.value["password"]):
            return None  # only the password is wrong: refused, no fallback
    device = registry.device_by_credentials(username)
    if device is None:
        return None
    if device.credentials.type == "ACCESS_TOKEN":
        return device
    if device.credentials.type == "MQTT_BASIC" and _equal(device, client_id, username, password):
        return device
    return None


def _equal(device: Device, client_id: str, username: str | None, password: str | None) -> bool:
    stored = device.credentials.value
    offered = {"clientId": client_id, "userName": username, "password": password}
    return all(not stored[member] or stored[member] == offered[member] for member in offered)


def refusal(client_id: str, username: str | None, password: str | None) -> int:
    """The CONNACK code of a refusal: 4 is never sent (contract 2.3)."""
    return BAD_CLIENT_ID if username is None and password is None and client_id.strip() else NOT_AUTHORIZED


def by_token(registry: Registry, token: str) -> Device | None:
    """The device of a token in a path: ACCESS_TOKEN credentials only (contract 2.5)."""
    device = registry.device_by_credentials(token)
    return device if device and device.credentials.type == "ACCESS_TOKEN" else None


def certificate_text(certificate: Certificate) -> str:
    """The normalised text of a certificate that a live peer presents: base64 of its DER in one line."""
    return base64.b64encode(certificate.public_bytes(Encoding.DER)).decode()


def admit(registry: Registry, chain: list[Certificate]) -> Device | None:
    """What the end of a handshake does with the client's chain, leaf first: a chain profile may create its device."""
    names = chain[0].subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    texts = [certificate_text(certificate) for certificate in chain]
    return provision_by_chain(registry, texts[0], texts, str(names[0].value) if names else None)


def is_valid(certificate: Certificate) -> bool:
    """Whether a certificate is within its dates."""
    now = datetime.datetime.now(datetime.timezone.utc)
    return certificate.not_valid_before_utc <= now <= certificate.not_valid_after_utc


def by_certificate(registry: Registry, leaf: Certificate) -> Device | None:
    """The device of a leaf that is within its dates; only the leaf counts (contract 2.4)."""
    if not is_valid(leaf):
        return None
    device = registry.device_by_credentials(sha3(certificate_text(leaf)))
    return device if device and device.credentials.type == "X509_CERTIFICATE" else None
