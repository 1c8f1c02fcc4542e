"""OTA packages, firmware and software: what devices are told of them, and their bytes in chunks (contract 9)."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any

from .database import now_ms

FIRMWARE, SOFTWARE = "fw", "sw"
KINDS = {FIRMWARE: "FIRMWARE", SOFTWARE: "SOFTWARE"}  # prefix of keys and topics -> what REST calls it
# Everything that removing an assignment deletes, in ThingsBoard's order.
_KEYS = ("title", "version", "ts", "state", "size", "checksum", "checksum_algorithm", "url", "tag")
_INT_MOST = 0x7FFFFFFF  # what the server's parser of numbers takes


@dataclass
class Package:
    """A package. It has `data` with its checksum, or `url`, or neither as long as nothing was uploaded."""

    id: str
    tenant: str
    kind: str  # FIRMWARE or SOFTWARE
    title: str
    version: str
    tag: str | None = None
    url: str | None = None
    algorithm: str | None = None
    checksum: str | None = None
    data: bytes | None = None
    profile: str | None = None  # the only one that it may be assigned in
    created: int = field(default_factory=now_ms)
    filename: str | None = None
    content_type: str = "application/octet-stream"

    @property
    def size(self) -> int | None:
        """Bytes, if it has any."""
        return None if self.data is None else len(self.data)

    @property
    def is_complete(self) -> bool:
        """Whether there is something to assign."""
        return self.data is not None or bool(self.url)

    def __str__(self) -> str:
        return f"{self.kind} {self.title} {self.version}"


def shared_attributes(package: Package) -> tuple[dict[str, Any], list[str]]:
    """The shared attributes of a device that the package is assigned to, and those to delete."""
    values = {
        "title": package.title,
        "version": package.version,
        "tag": package.tag or None,
        "url": package.url or None,
        "size": package.size,
        "checksum_algorithm": package.algorithm,
        "checksum": package.checksum or None,
    }
    kept = {f"{package.kind}_{key}": value for key, value in values.items() if value is not None}
    return kept, [f"{package.kind}_{key}" for key, value in values.items() if value is None]


def every_key(kind: str) -> list[str]:
    """The shared attributes to delete when nothing is assigned any more."""
    return [f"{kind}_{key}" for key in _KEYS]


def target(package: Package, ts: int) -> dict[str, Any]:
    """The telemetry that the server itself stores when it assigns the package at `ts` (ms)."""
    tag = {f"target_{package.kind}_tag": package.tag} if package.tag else {}
    return {
        f"target_{package.kind}_title": package.title,
        f"target_{package.kind}_version": package.version,
        **tag,
        f"target_{package.kind}_ts": ts,
        f"{package.kind}_state": "QUEUED",
    }


def chunk(data: bytes, size: int, number: int) -> bytes:
    """Chunk `number` of `size` bytes, the last one shorter, empty past the end. A size below 1: the whole."""
    if size < 1:
        return data
    return data[size * number : size * (number + 1)] if number >= 0 else b""


def integer(text: str) -> int:
    """A number as the server reads it: 32 bits in decimal digits; ValueError."""
    if not re.fullmatch(r"[+-]?[0-9]+", text) or not -_INT_MOST - 1 <= int(text) <= _INT_MOST:
        raise ValueError(f"not a number: {text[:20]}")
    return int(text)
