"""What the server knows: profiles, devices, credentials, attributes and telemetry, in SQLite."""

from __future__ import annotations

import hashlib
import json
import re
import secrets
import sqlite3
import string
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from . import packages
from .database import RegistryError, new_id, now_ms

_COLUMNS = {"id": "id", "name": "name", "key": "provision_key"}  # that a profile is found by
PROVISION_STATE = "provisionState"
PROVISIONED = "provisioned"
_ALPHANUMERIC = string.ascii_letters + string.digits

_SCHEMA = """
CREATE TABLE IF NOT EXISTS profile (
  id TEXT PRIMARY KEY, tenant TEXT NOT NULL, name TEXT NOT NULL, strategy TEXT NOT NULL,
  provision_key TEXT UNIQUE, provision_secret TEXT, pattern TEXT, allow_create INTEGER NOT NULL DEFAULT 0,
  info TEXT NOT NULL DEFAULT '{}');
CREATE TABLE IF NOT EXISTS device (
  id TEXT PRIMARY KEY, tenant TEXT NOT NULL, profile TEXT NOT NULL, name TEXT NOT NULL, gateway INTEGER NOT NULL,
  credentials_type TEXT NOT NULL, credentials_id TEXT NOT NULL UNIQUE, credentials_value TEXT,
  created INTEGER NOT NULL, info TEXT NOT NULL DEFAULT '{}', UNIQUE (tenant, name));
CREATE TABLE IF NOT EXISTS attribute (
  device TEXT NOT NULL, scope TEXT NOT NULL, name TEXT NOT NULL, value TEXT NOT NULL, ts INTEGER NOT NULL,
  PRIMARY KEY (device, scope, name));
CREATE TABLE IF NOT EXISTS series (
  id INTEGER PRIMARY KEY, device TEXT NOT NULL, name TEXT NOT NULL, ts INTEGER NOT NULL, value TEXT NOT NULL);
-- Files from before the unique index may have several values for one time.
DROP INDEX IF EXISTS series_device;
DELETE FROM series WHERE id NOT IN (SELECT MAX(id) FROM series GROUP BY device, name, ts);
CREATE UNIQUE INDEX IF NOT EXISTS series_point ON series (device, name, ts);
"""


@dataclass
class Profile:
    """A device profile with its provisioning strategy."""

    id: str
    tenant: str
    name: str
    strategy: str
    key: str | None = None
    secret: str | None = None
    pattern: str | None = None
    allow_create: bool = False
    info: dict[str, Any] = field(default_factory=dict)  # what else REST wrote into it


@dataclass
class Credentials:
    """Device credentials as stored: type, the platform-wide unique id, and the value (contract 2.2)."""

    type: str
    id: str
    value: Any = None


@dataclass
class Device:
    """A device with its credentials."""

    id: str
    tenant: str
    profile: str
    name: str
    credentials: Credentials
    gateway: bool = False
    created: int = field(default_factory=now_ms)
    info: dict[str, Any] = field(default_factory=dict)  # label and additional info


def random_text(length: int = 20) -> str:
    """Random letters and digits, as the server makes tokens and names."""
    return "".join(secrets.choice(_ALPHANUMERIC) for _ in range(length))


def sha3(text: str) -> str:
    """Lower-case hex of SHA3-256 over the text."""
    return hashlib.sha3_256(text.encode()).hexdigest()


def normalised(certificate: str) -> str:
    """Certificate text without its BEGIN and END lines and line ends (contract 2.4)."""
    text = certificate.replace("-----BEGIN CERTIFICATE-----", "").replace("-----END CERTIFICATE-----", "")
    return text.replace("\n", "").replace("\r", "")


def first_certificate(text: str) -> str:
    """The first certificate of a PEM text; RegistryError."""
    end = "-----END CERTIFICATE-----"
    if end not in text:
        raise RegistryError("no PEM certificate")
    return text.split(end)[0] + end


def access_token(token: str) -> Credentials:
    """Credentials of type ACCESS_TOKEN."""
    return Credentials("ACCESS_TOKEN", token)


def mqtt_basic(client_id: str | None, username: str | None, password: str | None) -> Credentials:
    """Credentials of type MQTT_BASIC; RegistryError for members that the server can't match later."""
    if not (client_id or username):
        raise RegistryError("neither client id nor user name")
    if password and not username:
        raise RegistryError("a password needs a user name")
    value = {"clientId": client_id, "userName": username, "password": password}
    if not client_id:
        return Credentials("MQTT_BASIC", username or "", value)
    return Credentials("MQTT_BASIC", sha3(f"{client_id}|{username}" if username else client_id), value)


def x509_certificate(text: str) -> Credentials:
    """Credentials of type X509_CERTIFICATE from PEM or bare base64."""
    value = normalised(text)
    return Credentials("X509_CERTIFICATE", sha3(value), value)


class Registry(packages.Packages):
    """The store. `when_added` is called with each new device."""

    def __init__(self, path: str = ":memory:") -> None:
        super().__init__(path, _SCHEMA + packages.SCHEMA)
        self.when_added: Callable[[Device], None] = lambda device: None
        self._received: dict[str, list[tuple[str, int, Any]]] = {}

    def clear(self) -> None:
        """Forget everything."""
        for table in ("profile", "device", "attribute", "series", "package", "assignment"):
            self._run(f"DELETE FROM {table}")
        self._received.clear()

    # Profiles

    def add_profile(self, profile: Profile) -> Profile:
        """Store a profile, or replace the one with its id. RegistryError: the key is taken."""
        row = (*list(vars(profile).values())[:-1], json.dumps(profile.info))
        try:
            self._run("INSERT OR ABORT INTO profile VALUES (?,?,?,?,?,?,?,?,?)", *row)
        except sqlite3.IntegrityError:
            if self._one("SELECT 1 FROM profile WHERE provision_key=? AND id<>?", profile.key, profile.id):
                raise RegistryError("Device profile with such provision device key already exists!") from None
            self._run("INSERT OR REPLACE INTO profile VALUES (?,?,?,?,?,?,?,?,?)", *row)
        return profile

    def profiles(self) -> list[Profile]:
        """All profiles, in the order they were added."""
        return [_profile(row) for row in self._all("SELECT * FROM profile ORDER BY rowid")]

    def profile(self, **where: Any) -> Profile | None:
        """The profile with this id, name or key."""
        [(member, value)] = where.items()
        row = self._one(f"SELECT * FROM profile WHERE {_COLUMNS[member]}=?", value)
        return _profile(row) if row else None

    def profile_named(self, name: str, tenant: str) -> Profile:
        """The profile of this name; one that is not there yet is made, without provisioning."""
        return self.profile(name=name) or self.add_profile(Profile(new_id(), tenant, name, "DISABLED"))

    def delete_profile(self, profile_id: str) -> None:
        """Remove a profile with its packages; RegistryError when devices use it."""
        if self._one("SELECT 1 FROM device WHERE profile=?", profile_id):
            raise RegistryError("The device profile referenced by the devices cannot be deleted!")
        self._run("DELETE FROM profile WHERE id=?", profile_id)
        self._run("DELETE FROM package WHERE profile=?", profile_id)
        self._run("DELETE FROM assignment WHERE owner=?", profile_id)

    # Devices

    def add_device(self, device: Device, own: Mapping[str, str] | None = None) -> Device:
        """Store a device, with the packages that are its own by kind.

        RegistryError when the server's validators would refuse it. Leaves nothing behind then.
        """
        _check(device)
        c = device.credentials
        try:
            self._run(
                "INSERT INTO device VALUES (?,?,?,?,?,?,?,?,?,?)",
                *(device.id, device.tenant, device.profile, device.name, device.gateway),
                *(c.type, c.id, None if c.value is None else json.dumps(c.value)),
                *(device.created, json.dumps(device.info)),
            )
        except sqlite3.IntegrityError as e:
            raise RegistryError(f"name or credentials are taken ({e})") from None
        self.set_assigned(device.id, own or {})
        self.when_added(device)
        return device

    def change_device(self, device: Device) -> Device:
        """Store a device's name, profile, gateway flag and info; RegistryError."""
        _check(device)
        try:
            self._run(
                "UPDATE device SET profile=?, name=?, gateway=?, info=? WHERE id=?",
                *(device.profile, device.name, device.gateway, json.dumps(device.info), device.id),
            )
        except sqlite3.IntegrityError:
            raise RegistryError("Device with such name already exists!") from None
        return device

    def devices(self) -> list[Device]:
        """All devices, in the order they were added."""
        return [_device(row) for row in self._all("SELECT * FROM device ORDER BY rowid")]

    def device(self, *, name: str, tenant: str) -> Device | None:
        """The tenant's device of this name (case matters)."""
        row = self._one("SELECT * FROM device WHERE name=? AND tenant=?", name, tenant)
        return _device(row) if row else None

    def device_by_id(self, device_id: str) -> Device | None:
        """The device with this id."""
        row = self._one("SELECT * FROM device WHERE id=?", device_id)
        return _device(row) if row else None

    def device_by_credentials(self, credentials_id: str) -> Device | None:
        """The device that owns this credentials id; it is unique over all tenants."""
        row = self._one("SELECT * FROM device WHERE credentials_id=?", credentials_id)
        return _device(row) if row else None

    def set_credentials(self, device_id: str, c: Credentials) -> None:
        """Replace a device's credentials; RegistryError when the id is taken."""
        try:
            self._run(
                "UPDATE device SET credentials_type=?, credentials_id=?, credentials_value=? WHERE id=?",
                *(c.type, c.id, None if c.value is None else json.dumps(c.value), device_id),
            )
        except sqlite3.IntegrityError:
            raise RegistryError("these credentials belong to another device") from None

    def delete_device(self, device_id: str) -> None:
        """Remove a device and all that was stored for it."""
        self._run("DELETE FROM device WHERE id=?", device_id)
        self._run("DELETE FROM attribute WHERE device=?", device_id)
        self._run("DELETE FROM series WHERE device=?", device_id)
        self._received.pop(device_id, None)
        self._run("DELETE FROM assignment WHERE owner=?", device_id)

    # Attributes and telemetry

    def set_attributes(self, device_id: str, scope: str, values: dict[str, Any]) -> None:
        """Store attributes; scope is CLIENT_SCOPE, SHARED_SCOPE or SERVER_SCOPE."""
        rows = [(device_id, scope, name, json.dumps(value), now_ms()) for name, value in values.items()]
        self._run_all("INSERT OR REPLACE INTO attribute VALUES (?,?,?,?,?)", rows)

    def delete_attributes(self, device_id: str, scope: str, names: list[str]) -> None:
        """Remove attributes by name."""
        for name in names:
            self._run("DELETE FROM attribute WHERE device=? AND scope=? AND name=?", device_id, scope, name)

    def attributes(self, device_id: str, scope: str) -> dict[str, Any]:
        """All attributes of one scope."""
        rows = self._all("SELECT name, value FROM attribute WHERE device=? AND scope=?", device_id, scope)
        return {name: json.loads(value) for name, value in rows}

    def attribute_entries(self, device_id: str, scope: str) -> list[tuple[str, Any, int]]:
        """All attributes of one scope: (name, value, time of the last change in ms)."""
        rows = self._all("SELECT name, value, ts FROM attribute WHERE device=? AND scope=?", device_id, scope)
        return [(name, json.loads(value), ts) for name, value, ts in rows]

    def delete_series(self, device_id: str, names: list[str]) -> None:
        """Remove telemetry by name."""
        for name in names:
            self._run("DELETE FROM series WHERE device=? AND name=?", device_id, name)

    def add_series(self, device_id: str, points: list[tuple[str, int, Any]]) -> None:
        """Store telemetry: (name, ts in ms, value) each; one replaces an older one of its name and time."""
        self._received.setdefault(device_id, []).extend(points)
        rows = [(device_id, name, ts, json.dumps(value)) for name, ts, value in points]
        self._run_all("INSERT OR REPLACE INTO series (device, name, ts, value) VALUES (?,?,?,?)", rows)

    def received(self, device_id: str) -> list[tuple[str, int, Any]]:
        """All that add_series() was given since the registry was opened, also what has been replaced meanwhile."""
        return list(self._received.get(device_id, ()))

    def series(self, device_id: str) -> list[tuple[str, int, Any]]:
        """All telemetry that is stored, in order of arrival."""
        rows = self._all("SELECT name, ts, value FROM series WHERE device=? ORDER BY id", device_id)
        return [(name, ts, json.loads(value)) for name, ts, value in rows]


def flaw(name: str) -> str:
    """What the server's validators have against the name of a device or a value (contract 5); "" for nothing."""
    if not name.strip():
        return "is blank"
    if len(name) > 255:
        return "is longer than 255 characters"
    return "holds markup" if re.search(r"<[a-zA-Z/!]", name) else ""


def _check(device: Device) -> None:
    why = flaw(device.name)
    if why:
        raise RegistryError(f"the name {why}")
    if not device.credentials.id:
        raise RegistryError("the credentials id is empty")


def _profile(row: Any) -> Profile:
    members = dict(zip(Profile.__dataclass_fields__, row, strict=True))
    return Profile(**{**members, "allow_create": bool(row[7]), "info": json.loads(row[8])})


def _device(row: Any) -> Device:
    value = None if row[7] is None else json.loads(row[7])
    device_id, tenant, profile, name = row[:4]
    credentials = Credentials(row[5], row[6], value)
    return Device(device_id, tenant, profile, name, credentials, bool(row[4]), row[8], json.loads(row[9]))
