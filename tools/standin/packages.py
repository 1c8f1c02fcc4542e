"""The registry's part for OTA packages: the packages, and which profile or device has which."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping
from typing import TYPE_CHECKING

from .database import Database, RegistryError
from .ota import KINDS, Package

if TYPE_CHECKING:
    from .registry import Device

SCHEMA = """
CREATE TABLE IF NOT EXISTS package (
  id TEXT PRIMARY KEY, tenant TEXT NOT NULL, kind TEXT NOT NULL, title TEXT NOT NULL, version TEXT NOT NULL,
  tag TEXT, url TEXT, algorithm TEXT, checksum TEXT, data BLOB, profile TEXT, created INTEGER NOT NULL,
  filename TEXT, content_type TEXT NOT NULL, UNIQUE (tenant, title, version));
CREATE TABLE IF NOT EXISTS assignment (
  owner TEXT NOT NULL, kind TEXT NOT NULL, package TEXT NOT NULL, PRIMARY KEY (owner, kind));
"""
_PLACES = ",".join("?" * len(Package.__dataclass_fields__))


class Packages(Database):
    """Packages and their assignments; `owner` is the id of a profile or of a device."""

    def add_package(self, package: Package) -> Package:
        """Store a package; RegistryError when another has its title and version, be it of the other kind."""
        if package.kind not in KINDS or not package.title.strip() or not package.version.strip():
            raise RegistryError("OtaPackage type, title and version should be specified!")
        try:
            self._run(f"INSERT INTO package VALUES ({_PLACES})", *vars(package).values())
        except sqlite3.IntegrityError:
            raise RegistryError("OtaPackage with such title and version already exists!") from None
        return package

    def change_package(self, package: Package) -> Package:
        """Store what has changed in a package: its profile, tag, file and checksum."""
        columns = ("tag", "url", "algorithm", "checksum", "data", "profile", "filename", "content_type")
        places = ", ".join(f"{column}=?" for column in columns)
        values = [getattr(package, column) for column in columns]
        self._run(f"UPDATE package SET {places} WHERE id=?", *values, package.id)
        return package

    def packages(self) -> list[Package]:
        """All packages, in the order they were added."""
        return [Package(*row) for row in self._all("SELECT * FROM package ORDER BY rowid")]

    def package(self, package_id: str | None) -> Package | None:
        """The package with this id."""
        row = self._one("SELECT * FROM package WHERE id=?", package_id)
        return Package(*row) if row else None

    def delete_package(self, package_id: str) -> None:
        """Remove a package; RegistryError when a device or a profile uses it."""
        for table, users in (("device", "devices"), ("profile", "device profile")):
            query = f"SELECT 1 FROM assignment JOIN {table} ON {table}.id=owner WHERE package=?"
            if self._one(query, package_id):
                raise RegistryError(f"The otaPackage referenced by the {users} cannot be deleted!")
        self._run("DELETE FROM package WHERE id=?", package_id)

    def assigned(self, owner: str) -> dict[str, str]:
        """The ids of the packages that are assigned to this profile, or to this device itself, by kind."""
        return dict(self._all("SELECT kind, package FROM assignment WHERE owner=?", owner))

    def set_assigned(self, owner: str, packages: Mapping[str, str]) -> None:
        """Make these, and no others, the owner's packages."""
        with self._lock:
            self._run("DELETE FROM assignment WHERE owner=?", owner)
            self._run_all("INSERT INTO assignment VALUES (?,?,?)", [(owner, *item) for item in packages.items()])

    def targets(self, device: Device) -> dict[str, str]:
        """The ids of a device's packages by kind: its own assignment wins over its profile's."""
        return {**self.assigned(device.profile), **self.assigned(device.id)}
