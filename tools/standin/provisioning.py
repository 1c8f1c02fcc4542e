"""The provisioning service: what a request says, and what ThingsBoard decides (contract 4.3 to 4.7)."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from . import gson
from .registry import (
    PROVISION_STATE,
    PROVISIONED,
    Credentials,
    Device,
    Profile,
    Registry,
    RegistryError,
    access_token,
    mqtt_basic,
    new_id,
    normalised,
    random_text,
    sha3,
    x509_certificate,
)
from .release import Release

ALLOW_CREATE = "ALLOW_CREATE_NEW_DEVICES"
PRE_PROVISIONED = "CHECK_PRE_PROVISIONED_DEVICES"
DISABLED = "DISABLED"
X509_CHAIN = "X509_CERTIFICATE_CHAIN"
STRATEGIES = (ALLOW_CREATE, PRE_PROVISIONED, DISABLED, X509_CHAIN)

_TYPES = ("ACCESS_TOKEN", "MQTT_BASIC", "X509_CERTIFICATE", "LWM2M_CREDENTIALS")
# As the server's queue.proto numbers them.
_STATUS_NUMBERS = {"SUCCESS": 1, "NOT_FOUND": 2, "FAILURE": 3}
_TYPE_NUMBERS = {"ACCESS_TOKEN": 0, "X509_CERTIFICATE": 1, "MQTT_BASIC": 2, "LWM2M_CREDENTIALS": 3}
_REFUSALS = {"NOT_FOUND": "Provision data was not found!", "FAILURE": "Failed to provision device!"}


class SyntaxFault(Exception):
    """The request is not JSON, not an object, or has a list where a text is expected."""


class MemberFault(Exception):
    """The request is an object with a member missing, null, or of the wrong kind."""


class CoreFault(Exception):
    """The core does not answer: the transport gives up after 10 to 20 s."""


@dataclass
class Request:
    """A parsed provisioning request."""

    key: str
    secret: str
    name: str | None = None
    type: str = "ACCESS_TOKEN"
    token: str | None = None
    client_id: str | None = None
    username: str | None = None
    password: str | None = None
    certificate: str | None = None
    gateway: bool = False


def parse(body: bytes) -> Request:
    """Read a request as the server's converter does. SyntaxFault or MemberFault."""
    try:
        doc = gson.parse(body.decode("utf-8", "replace"))
    except gson.GsonError as e:
        raise SyntaxFault(str(e)) from e
    if not isinstance(doc, dict):
        raise SyntaxFault("not a JSON object")
    for member in ("provisionDeviceKey", "provisionDeviceSecret"):
        if member not in doc:
            raise MemberFault(f"Failed to find the field {member}")
    kind = _text(doc, "credentialsType") if "credentialsType" in doc else "ACCESS_TOKEN"
    if kind not in _TYPES:
        raise MemberFault(f"unknown credentialsType {kind}")
    return Request(
        key=_text(doc, "provisionDeviceKey") or "",
        secret=_text(doc, "provisionDeviceSecret") or "",
        name=_text(doc, "deviceName"),
        type=kind,
        token=_text(doc, "token"),
        client_id=_text(doc, "clientId"),
        username=_text(doc, "username"),
        password=_text(doc, "password"),
        certificate=_text(doc, "hash"),
        gateway=(_text(doc, "gateway") or "").lower() == "true",
    )


def _text(doc: Mapping[str, Any], member: str) -> str | None:
    if member not in doc:
        return None
    value = doc[member]
    while isinstance(value, list):
        if len(value) != 1:
            raise SyntaxFault(f"{member} is a list")
        value = value[0]
    if value is None or isinstance(value, dict):
        raise MemberFault(f"{member} is not a text")
    return ("true" if value else "false") if isinstance(value, bool) else str(value)


def refusal(status: str) -> dict[str, Any]:
    """The answer NOT_FOUND or FAILURE."""
    return {"errorMsg": _REFUSALS[status], "status": status}


def granted(credentials: Credentials) -> dict[str, Any]:
    """The answer SUCCESS with the credentials that are stored."""
    if credentials.type == "LWM2M_CREDENTIALS":
        return {"credentialsType": credentials.type, "status": "SUCCESS"}
    value = credentials.id if credentials.type == "ACCESS_TOKEN" else credentials.value
    return {"credentialsValue": value, "credentialsType": credentials.type, "status": "SUCCESS"}


def provision(registry: Registry, release: Release, request: Request) -> dict[str, Any]:
    """The decision tables of contract 4.5; changes the registry. CoreFault: no answer at all."""
    name = request.name.strip("".join(map(chr, range(33)))) if request.name else None
    if name == "":
        return refusal("FAILURE")
    profile = registry.profile(key=request.key) if request.key and request.secret else None
    if profile is None or not profile.secret:
        return refusal("NOT_FOUND")
    if profile.strategy == X509_CHAIN:
        raise CoreFault("X509_CERTIFICATE_CHAIN has no request API")
    if profile.strategy == DISABLED or profile.secret != request.secret:
        return refusal("NOT_FOUND")
    device = registry.device(name=name, tenant=profile.tenant) if name else None
    if profile.strategy == PRE_PROVISIONED:
        return _pre_provisioned(registry, release, profile, device)
    if device:
        return refusal("FAILURE")
    try:
        device = Device(
            new_id(),
            profile.tenant,
            profile.id,
            name or random_text(),
            _credentials(request, release),
            request.gateway and release.gateway_member,
        )
        registry.add_device(device)
    except RegistryError:
        return refusal("FAILURE")
    registry.set_attributes(device.id, "SERVER_SCOPE", {PROVISION_STATE: PROVISIONED})
    return granted(device.credentials)


def _pre_provisioned(registry: Registry, release: Release, profile: Profile, device: Device | None) -> dict[str, Any]:
    if device is None or device.profile != profile.id:
        return refusal("FAILURE")
    state = registry.attributes(device.id, "SERVER_SCOPE").get(PROVISION_STATE)
    if state is not None and not (state == PROVISIONED and release.repeat_succeeds):
        return refusal("FAILURE")
    registry.set_attributes(device.id, "SERVER_SCOPE", {PROVISION_STATE: PROVISIONED})
    return granted(device.credentials)


def _credentials(request: Request, release: Release) -> Credentials:
    supplied = (request.token, request.client_id, request.username, request.password, request.certificate)
    if not any(supplied):
        return access_token(random_text())  # whatever type was asked for
    checked = (request.token, request.client_id, request.username, request.password)
    if release.refuses_control_characters and any(re.search(r"[\x00-\x1f\x7f]", text or "") for text in checked):
        raise RegistryError("control characters in the credentials")
    if request.type == "ACCESS_TOKEN":
        return access_token(request.token or "")
    if request.type == "MQTT_BASIC":
        return mqtt_basic(request.client_id or "", request.username or "", request.password or "")
    if request.type == "X509_CERTIFICATE":
        return x509_certificate(request.certificate or "")
    raise RegistryError("LWM2M credentials can't be provisioned this way")


def provision_by_chain(registry: Registry, leaf: str, chain: list[str], common_name: str | None) -> Device | None:
    """What the TLS handshake does with a presented chain (contract 4.7).

    `leaf` and `chain` (leaf first) are certificate texts. Returns the device that the leaf stands for afterwards.
    """
    for certificate in chain:
        hashed = sha3(normalised(certificate))
        known = registry.device_by_credentials(hashed)
        if known:
            return known
        profile = registry.profile(key=hashed)
        if profile and profile.strategy == X509_CHAIN:
            return _chain_device(registry, profile, leaf, common_name)
    return None


def _chain_device(registry: Registry, profile: Profile, leaf: str, common_name: str | None) -> Device | None:
    match = re.search(profile.pattern or "(.*)", common_name) if common_name else None
    if not match or not match[1]:
        return None
    credentials = x509_certificate(leaf)
    device = registry.device(name=match[1], tenant=profile.tenant)
    if device:
        if device.profile == profile.id and device.credentials.type == "X509_CERTIFICATE":
            registry.set_credentials(device.id, credentials)
            return registry.device_by_id(device.id)
        return None
    if not profile.allow_create:
        return None
    device = Device(new_id(), profile.tenant, profile.id, match[1], credentials)
    registry.add_device(device)
    registry.set_attributes(device.id, "SERVER_SCOPE", {PROVISION_STATE: PROVISIONED})
    return device


def as_json(answer: Mapping[str, Any]) -> bytes:
    """The answer as the server writes it."""
    return json.dumps(answer, separators=(",", ":")).encode()


def as_protobuf(answer: Mapping[str, Any]) -> bytes:
    """The answer as the server's ProvisionDeviceResponseMsg: status, type and value are its members 1 to 3."""
    message = bytes([0x08, _STATUS_NUMBERS[answer["status"]]])
    kind = _TYPE_NUMBERS[answer.get("credentialsType", "ACCESS_TOKEN")]
    if kind:  # a member that is 0 or "" is left out
        message += bytes([0x10, kind])
    value = answer.get("credentialsValue") or ""
    text = as_json(value) if isinstance(value, dict) else value.encode()
    return message + b"\x1a" + _varint(len(text)) + text if text else message


def _varint(number: int) -> bytes:
    if number < 0x80:
        return bytes([number])
    return bytes([number & 0x7F | 0x80]) + _varint(number >> 7)
