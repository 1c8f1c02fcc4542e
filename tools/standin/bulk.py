"""ThingsBoard's bulk import of devices: a CSV and what its columns mean, line by line."""

from __future__ import annotations

import csv
from typing import Any

from . import values
from .core import Core
from .documents import TENANT
from .registry import (
    Credentials,
    Device,
    RegistryError,
    access_token,
    mqtt_basic,
    new_id,
    now_ms,
    random_text,
    x509_certificate,
)


def bulk_import(core: Core, document: dict[str, Any]) -> dict[str, Any]:
    """What POST /api/device/bulk_import answers to {file, mapping: {columns, delimiter, header, update}}.

    A line with an error stops no other. A device that exists keeps its credentials, unless the line has some.
    """
    mapping = document["mapping"]
    rows = list(csv.reader(document["file"].splitlines(), delimiter=mapping.get("delimiter") or ","))
    columns = mapping["columns"]
    result: dict[str, Any] = {"created": 0, "updated": 0, "errors": 0, "errorsList": []}
    for number, row in enumerate(rows, 1):
        if number == 1 and mapping.get("header"):
            continue
        try:
            cells = [(c["type"], c.get("key"), cell) for c, cell in zip(columns, row, strict=True) if cell]
            fields = {kind: cell for kind, _, cell in cells}
            result["updated" if _save(core, fields) else "created"] += 1
            _store(core, fields["NAME"], cells)
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
    profile = core.registry.profile_named(fields.get("TYPE", "default"), TENANT)
    is_gateway = fields.get("IS_GATEWAY", "").lower() == "true"
    info: dict[str, Any] = {"label": fields["LABEL"]} if "LABEL" in fields else {}
    if "DESCRIPTION" in fields:
        info["additionalInfo"] = {"description": fields["DESCRIPTION"]}
    made = credentials or access_token(random_text())
    core.registry.add_device(Device(new_id(), TENANT, profile.id, fields["NAME"], made, is_gateway, info=info))
    return False


def _store(core: Core, name: str, cells: list[tuple[str, str | None, str]]) -> None:
    device = core.registry.device(name=name, tenant=TENANT)
    assert device is not None
    for kind, key, cell in cells:
        if key and kind == "SHARED_ATTRIBUTE":
            core.set_shared(device, {key: values.typed(cell)})
        elif key and kind == "SERVER_ATTRIBUTE":
            core.registry.set_attributes(device.id, "SERVER_SCOPE", {key: values.typed(cell)})
        elif key and kind == "TIMESERIES":
            core.registry.add_series(device.id, [(key, now_ms(), values.typed(cell))])


def _credentials(fields: dict[str, str]) -> Credentials | None:
    basic = [fields.get(kind) for kind in ("MQTT_CLIENT_ID", "MQTT_USER_NAME", "MQTT_PASSWORD")]
    if any(basic):
        return mqtt_basic(*basic)
    if "X509" in fields:
        return x509_certificate(fields["X509"])
    return access_token(fields["ACCESS_TOKEN"]) if "ACCESS_TOKEN" in fields else None
