"""OTA packages at ThingsBoard, through its official client: upload, assign, and what boards say of them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from .checksums import checksum
from .console import fail
from .thingsboard import named, pages

# What the command calls them, and what ThingsBoard does.
KINDS = {"fw": "FIRMWARE", "sw": "SOFTWARE"}
_MEMBERS = {"fw": "firmwareId", "sw": "softwareId"}
_STATE = {
    "state": "{}_state",
    "error": "{}_error",
    "title": "current_{}_title",
    "version": "current_{}_version",
    "target_title": "target_{}_title",
    "target_version": "target_{}_version",
}


def find_profile(client: Any, name: str) -> Any:
    """The device profile of this name; Failed."""
    found = named(client.get_device_profiles, name)
    if not found:
        fail(f"there is no device profile {name!r}", "`firstboot profile list` lists them")
    return found


def find_device(client: Any, name: str, profile: Any) -> Any:
    """The device of this name, which is of the profile; Failed."""
    found = named(client.get_tenant_devices, name)
    if not found:
        fail(f"there is no device {name!r}", "`firstboot update show` lists them")
    if found.device_profile_id.id != profile.id.id:
        fail(f"the device {name!r} is not of the profile {profile.name!r}", "a package is for one profile")
    return found


def upload(
    client: Any, path: Path, data: bytes, algorithm: str, info: dict[str, Any], profile: Any
) -> tuple[Any, bool]:
    """The package of this info with the file's data, and whether it was made now; Failed.

    What an earlier try has left behind is used: the package without its file, or all of it.
    """
    title, version, kind = info["title"], info["version"], info["type"]
    known = _package(client, title, version)
    if known and (known.type != kind or known.device_profile_id.id != profile.id.id):
        fail(f"there is a package {title} {version} already, of another kind or profile", "give another --version")
    if known and known.has_data:
        if known.checksum != checksum(known.checksum_algorithm, data):
            fail(f"there is a package {title} {version} already, with another content", "give another --version")
        return known, False
    if known and known.url:
        fail(f"there is a package {title} {version} already, by URL", "give another --version")
    if not known:
        known = client.save_ota_package_info({**info, "deviceProfileId": _id(profile), "usesUrl": False})
    return client.save_ota_package_data(known.id, algorithm, str(path), checksum(algorithm, data)), True


def assign(client: Any, owner: Any, kind: str, package: Any) -> None:
    """Make the package that of a device profile, or of a device."""
    is_device = owner.id.entity_type == "DEVICE"
    place = f"/api/{'device' if is_device else 'deviceProfile'}/{owner.id.id}"
    # As the server has it: the client's models leave out what they don't know.
    document = client.api_client.call_api(
        place, "GET", response_type="object", auth_settings=["ApiKeyForm"], _return_http_data_only=True
    )
    document[_MEMBERS[kind]] = _id(package)
    (client.save_device if is_device else client.save_device_profile)(document)


def packages(client: Any) -> list[dict[str, Any]]:
    """Every package, the profile that it is for, and whether it is assigned to that."""
    profiles = {found.id.id: found for found in pages(client.get_device_profiles)}
    names = {theirs: ours for ours, theirs in KINDS.items()}
    shown = []
    for one in pages(client.get_ota_packages):
        profile = profiles.get(one.device_profile_id.id if one.device_profile_id else "")
        assigned = [given.id for given in (profile.firmware_id, profile.software_id) if given] if profile else []
        shown.append(
            {
                "kind": names.get(one.type, one.type),
                "title": one.title,
                "version": one.version,
                "tag": one.tag,
                "profile": profile.name if profile else None,
                "assigned": one.id.id in assigned,
                "size": one.data_size,
                "url": one.url,
                "checksum_algorithm": one.checksum_algorithm,
                "checksum": one.checksum,
            }
        )
    return shown


def states(client: Any, found: list[Any]) -> Iterator[dict[str, Any]]:
    """What each of these devices has last said of its updates, by kind; None where it has said nothing."""
    keys = [name.format(kind) for kind in KINDS for name in _STATE.values()]
    for device in found:
        latest = client.get_latest_timeseries(device.id, keys=",".join(keys))
        values = {key: points[0].value for key, points in latest.items() if points and points[0].value is not None}
        told: dict[str, Any] = {"name": device.name, "profile": device.type}
        for kind in KINDS:
            state = {ours: values.get(name.format(kind)) for ours, name in _STATE.items()}
            if state["state"] != "FAILED":
                state["error"] = None  # of an earlier update
            told[kind] = state if any(state.values()) else None
        yield told


def _package(client: Any, title: str, version: str) -> Any:
    for found in pages(client.get_ota_packages, text_search=title):
        if (found.title, found.version) == (title, version):
            return found
    return None


def _id(entity: Any) -> dict[str, str]:
    return {"entityType": entity.id.entity_type, "id": entity.id.id}
