"""ThingsBoard's bulk import of devices: a CSV and what its columns mean, line by line."""

from __future__ import annotations

import csv
from typing import Any

from .core import Core
from .provisioning import DISABLED
from .registry import Credentials, Device, Profile, RegistryError, access_token, mqtt_basic, new_id, random_text

TENANT = "T1"


def bulk_import(core: Core, document: dict[str, Any]) -> dict[str, Any]:
    """What POST /api/device/bulk_import answers to {file, mapping: {columns, delimiter, header, update}}.

    A line with an error stops no other. A device that exists keeps its credentials, unless the line has some.
    """
    mapping = document["mapping"]
    rows = list(csv.reader(document["file"].splitlines(), delimiter=mapping.get("delimiter") or ","))
    kinds = [column["type"] for column in mapping["columns"]]
    result: dict[str, Any] = {"created": 0, "updated": 0, "errors": 0, "errorsList": []}
    for number, row in enumerate(rows, 1):
        if number == 1 and mapping.get("header"):
            continue
        try:
            fields = {kind: value for kind, value in zip(kinds, row, strict=True) if value}
            result["updated" if _save(core, fields) else "created"] += 1
        except (RegistryError, KeyError, ValueError) as e:
            result["errors"] += 1
            result["errorsList"].append(f"Line {number}: {type(e).__name__}: {e}")
    return result


def _save(core: Core, fields: dict[str, str]) -> bool:
    credentials = _credentials(fields)
    device = core.registry.device(name=fields["NAME"], tenant=TENANT)
    if device:
        if credentials:
            core.set_credentials(device, credentials)
        return True
    profile = _profile(core, fields.get("TYPE", "default"))
    is_gateway = fields.get("IS_GATEWAY", "").lower() == "true"
    made = credentials or access_token(random_text())
    core.registry.add_device(Device(new_id(), TENANT, profile.id, fields["NAME"], made, is_gateway))
    return False


def _profile(core: Core, name: str) -> Profile:
    # A type that is no profile's name yet makes one, without provisioning.
    found = core.registry.profile(name=name)
    return found or core.registry.add_profile(Profile(new_id(), TENANT, name, DISABLED, None, None))


def _credentials(fields: dict[str, str]) -> Credentials | None:
    basic = [fields.get(kind) for kind in ("MQTT_CLIENT_ID", "MQTT_USER_NAME", "MQTT_PASSWORD")]
    if any(basic):
        return mqtt_basic(*basic)
    return access_token(fields["ACCESS_TOKEN"]) if "ACCESS_TOKEN" in fields else None
