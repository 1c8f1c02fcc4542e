"""OTA updates: who is assigned which package, what devices are told of it, and what they download (contract 9)."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import TYPE_CHECKING

from . import ota
from .ota import KINDS, Package
from .registry import Device, Profile, RegistryError, now_ms

if TYPE_CHECKING:
    from .core import Core

_FILES = 10  # in the server's cache
_FILE_LASTS = 3600  # seconds


class NoPackage(Exception):
    """A device can't have what it asks for; the message is the server's word for it."""


class Updates:
    """The part of the core that looks after packages."""

    def __init__(self, core: Core) -> None:
        self.core = core
        self.registry = core.registry
        self.registry.when_added = self._added
        self._files: dict[str, tuple[bytes, float]] = {}  # by package: its bytes, and until when
        self._told: dict[tuple[str, str], tuple[str, int]] = {}  # by transport and device: package, chunk

    # Assignments

    def assign(self, owner: Device | Profile, kind: str, package: Package | None) -> None:
        """Assign a package, or take away the one of this kind; RegistryError.

        A package that belongs to no profile yet belongs to this one from now on.
        """
        if package and package.profile is None:
            package.profile = owner.profile if isinstance(owner, Device) else owner.id
            self.registry.change_package(package)
        own = self.registry.assigned(owner.id)
        own.pop(kind, None)
        if package:
            own[kind] = package.id
        if isinstance(owner, Device):
            self.save_device(owner, own)
        else:
            self.save_profile(owner, own)

    def save_device(self, device: Device, own: Mapping[str, str]) -> Device:
        """Store a device that is there already, and which packages are its own by kind; RegistryError."""
        self.check(own, device.profile)
        known = self.registry.device_by_id(device.id)
        before = self.registry.targets(known) if known else {}
        self.registry.change_device(device)
        self.registry.set_assigned(device.id, own)
        after = self.registry.targets(device)
        for kind in KINDS:
            if before.get(kind) != after.get(kind):
                self._tell(device, kind, after.get(kind))
        return device

    def save_profile(self, profile: Profile, own: Mapping[str, str]) -> Profile:
        """Store a profile with the packages, by kind, of its devices that have no own; RegistryError."""
        self.check(own, profile.id)
        before = self.registry.assigned(profile.id)
        self.registry.add_profile(profile)
        self.registry.set_assigned(profile.id, own)
        for kind in KINDS:
            if before.get(kind) == own.get(kind):
                continue
            for device in self.registry.devices():
                if device.profile == profile.id and kind not in self.registry.assigned(device.id):
                    self._tell(device, kind, own.get(kind))
        return profile

    def check(self, own: Mapping[str, str], profile_id: str) -> None:
        """RegistryError when ThingsBoard would not assign these packages to a profile or to one of its devices."""
        for kind, package_id in own.items():
            name, package = KINDS[kind].lower(), self.registry.package(package_id)
            if package is None:
                raise RegistryError(f"Can't assign non-existent {name}!")
            if package.kind != kind:
                raise RegistryError(f"Can't assign {name} with type: {KINDS[package.kind]}")
            if not package.is_complete:
                raise RegistryError(f"Can't assign {name} with empty data!")
            if package.profile != profile_id:
                raise RegistryError(f"Can't assign {name} with different deviceProfile!")

    def delete(self, package_id: str) -> None:
        """Remove a package that nobody uses; RegistryError."""
        self.registry.delete_package(package_id)
        self._files.pop(package_id, None)

    def _added(self, device: Device) -> None:
        for kind, package_id in self.registry.targets(device).items():
            self._tell(device, kind, package_id)

    def _tell(self, device: Device, kind: str, package_id: str | None) -> None:
        package = self.registry.package(package_id)
        if package is None:
            self.core.delete_shared(device, ota.every_key(kind))
            self.core.say("ota", device.name, f"no {KINDS[kind].lower()} any more")
            return
        now = now_ms()
        queued = [(name, now, value) for name, value in ota.target(package, now).items()]
        # Later than QUEUED: a queue lies between them, and of one time only one state would stay.
        self.registry.add_series(device.id, [*queued, (f"{kind}_state", now + 1, "INITIATED")])
        values, unused = ota.shared_attributes(package)
        self.core.say("ota", device.name, f"assigned {package.title} {package.version}")
        # The notice goes out even for keys that never were; no order is promised (contract 9).
        self.core.delete_shared(device, unused)
        self.core.set_shared(device, values)

    # Downloads

    def wanted(self, device: Device, kind: str) -> Package:
        """The package that a device of these may download, its bytes at hand for an hour; NoPackage, Limited."""
        self.core.limits.check(device.id)
        package = self.registry.package(self.registry.targets(device).get(kind))
        if package is None:
            raise NoPackage("NOT_FOUND")
        if package.data is None:
            raise NoPackage("FAILURE")
        _, until = self._files.get(package.id, (b"", 0))
        if until <= time.monotonic():
            self._files.pop(package.id, None)
            self._files[package.id] = package.data, time.monotonic() + _FILE_LASTS * self.core.scale
            for oldest in list(self._files)[:-_FILES]:
                del self._files[oldest]
        return package

    def chunk(self, package_id: str, size: int, number: int) -> bytes:
        """A chunk as ota.chunk(); empty, too, once the bytes are no longer at hand."""
        data, until = self._files.get(package_id, (b"", 0))
        return ota.chunk(data, size, number) if time.monotonic() < until else b""

    def tell_start(self, transport: str, device: Device, package: Package, number: int) -> None:
        """Say that a download begins at this chunk; nothing when the chunk before it was the last one asked for."""
        key = transport, device.id
        told, self._told[key] = self._told.get(key), (package.id, number)
        if told not in ((package.id, number), (package.id, number - 1)) or number == 0:
            self.core.say(transport, device.name, f"{package}: from chunk {number}")
