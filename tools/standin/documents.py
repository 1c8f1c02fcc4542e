"""Profiles, devices and credentials as ThingsBoard's REST API writes and reads them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from aiohttp import web

from .ota import FIRMWARE, KINDS, SOFTWARE, Package
from .registry import Credentials, Device, Profile, RegistryError, access_token, mqtt_basic, x509_certificate

TENANT = "T1"
# Members of a profile that have no meaning here and are given back as they came.
PROFILE_EXTRAS = (
    "type",
    "transportType",
    "description",
    "image",
    "defaultRuleChainId",
    "defaultQueueName",
    "profileData",
)
_ASSIGNED = {FIRMWARE: "firmwareId", SOFTWARE: "softwareId"}


def error(status: int, message: str, code: int) -> web.Response:
    """An error document."""
    return web.json_response({"status": status, "message": message, "errorCode": code}, status=status)


def not_found(what: str) -> web.HTTPNotFound:
    """To raise when there is no such thing."""
    text = json.dumps({"status": 404, "message": f"{what} not found", "errorCode": 32})
    return web.HTTPNotFound(text=text, content_type="application/json")


def page(request: web.Request, rows: list[Any]) -> web.Response:
    """The part of the rows that ?pageSize= and ?page= ask for."""
    size, number = int(request.query.get("pageSize", "10")), int(request.query.get("page", "0"))
    if size < 1 or number < 0:
        return error(400, "Incorrect page link", 31)
    pages = -(-len(rows) // size)
    part = rows[number * size : (number + 1) * size]
    return web.json_response(
        {"data": part, "totalPages": pages, "totalElements": len(rows), "hasNext": number + 1 < pages}
    )


def profile(p: Profile, own: Mapping[str, str]) -> dict[str, Any]:
    """A device profile, with its packages by kind."""
    configuration: dict[str, Any] = {"type": p.strategy, "provisionDeviceSecret": p.secret}
    if p.pattern is not None:
        configuration["certificateRegExPattern"] = p.pattern
        configuration["allowCreateNewDevicesByX509Certificate"] = p.allow_create
    data = {"configuration": {"type": "DEFAULT"}, "transportConfiguration": {"type": "DEFAULT"}}
    return {
        "id": {"entityType": "DEVICE_PROFILE", "id": p.id},
        "tenantId": {"entityType": "TENANT", "id": p.tenant},
        "name": p.name,
        "type": "DEFAULT",
        "transportType": "DEFAULT",
        "provisionType": p.strategy,
        "provisionDeviceKey": p.key,
        "default": p.name == "default",
        **p.info,
        **_packages(own),
        "profileData": {**data, **p.info.get("profileData", {}), "provisionConfiguration": configuration},
    }


def device(d: Device, kind: str, own: Mapping[str, str]) -> dict[str, Any]:
    """A device, of the type `kind`, with the packages that are its own."""
    return {
        "id": {"entityType": "DEVICE", "id": d.id},
        "createdTime": d.created,
        "tenantId": {"entityType": "TENANT", "id": d.tenant},
        "name": d.name,
        "type": kind,
        "deviceProfileName": kind,
        "label": d.info.get("label"),
        "deviceProfileId": {"entityType": "DEVICE_PROFILE", "id": d.profile},
        **_packages(own),
        "additionalInfo": {**d.info.get("additionalInfo", {}), "gateway": d.gateway},
    }


def package(p: Package) -> dict[str, Any]:
    """An OTA package without its bytes."""
    return {
        "id": {"entityType": "OTA_PACKAGE", "id": p.id},
        "createdTime": p.created,
        "tenantId": {"entityType": "TENANT", "id": p.tenant},
        "deviceProfileId": {"entityType": "DEVICE_PROFILE", "id": p.profile} if p.profile else None,
        "type": KINDS[p.kind],
        "title": p.title,
        "version": p.version,
        "name": p.title,
        "tag": p.tag,
        "url": p.url,
        "hasData": p.data is not None,
        "fileName": p.filename,
        "contentType": p.content_type if p.filename else None,
        "checksumAlgorithm": p.algorithm,
        "checksum": p.checksum,
        "dataSize": p.size,
    }


def package_file(p: Package, data: bytes) -> web.Response:
    """Bytes of a package, with its file's name and type."""
    name = p.filename or "null"
    headers = {"x-filename": name, "Content-Disposition": f"attachment;filename={name}"}
    return web.Response(body=data, headers=headers, content_type=p.content_type)


def _packages(own: Mapping[str, str]) -> dict[str, Any]:
    return {
        member: {"entityType": "OTA_PACKAGE", "id": own[kind]} if kind in own else None
        for kind, member in _ASSIGNED.items()
    }


def given_packages(document: dict[str, Any]) -> dict[str, str]:
    """The packages, by kind, that a document of a profile or a device names."""
    given = {kind: (document.get(member) or {}).get("id") for kind, member in _ASSIGNED.items()}
    return {kind: package_id for kind, package_id in given.items() if package_id}


def credentials(d: Device) -> dict[str, Any]:
    """A device's credentials; what is basic is JSON in a text."""
    value = d.credentials.value
    return {
        "id": {"id": d.id},
        "deviceId": {"entityType": "DEVICE", "id": d.id},
        "credentialsType": d.credentials.type,
        "credentialsId": d.credentials.id,
        "credentialsValue": json.dumps(value) if isinstance(value, dict) else value,
    }


def given_credentials(document: dict[str, Any]) -> Credentials:
    """Credentials from a document; RegistryError."""
    kind, value = document["credentialsType"], document.get("credentialsValue") or ""
    if kind == "ACCESS_TOKEN":
        return access_token(document["credentialsId"])
    if kind == "X509_CERTIFICATE":
        return x509_certificate(value)
    if kind != "MQTT_BASIC":
        raise RegistryError(f"{kind} is not supported here")
    basic = json.loads(value) if isinstance(value, str) else value
    return mqtt_basic(basic.get("clientId"), basic.get("userName"), basic.get("password"))
