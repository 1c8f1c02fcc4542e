"""The ESP32's second-stage bootloader, as far as it chooses an app partition (ESP-IDF, "App rollback")."""

from __future__ import annotations

from pathlib import Path
from typing import Any

SIZE = 0x180000  # of an app partition, as MicroPython's partition table with OTA has it for 4 MiB of flash
_MAGIC = b"\xe9"


class Bootloader:
    """The two app partitions of a board, in a file beside its flash image; what boots next is in another one."""

    def __init__(self, image: Path) -> None:
        self.file = image.with_name(image.name + ".app")
        self.otadata = image.with_name(image.name + ".otadata")
        if not self.file.exists():
            self.file.write_bytes((_MAGIC + b"the image that was flashed").ljust(SIZE, b"\xff") + b"\xff" * SIZE)
            self.otadata.write_text("0 valid")

    def next(self) -> tuple[int, str]:
        """The partition that boots next, and its state: "new", "pending" (booted once, not marked yet), "valid"."""
        index, state = self.otadata.read_text().split()
        return int(index), state

    def start(self) -> None:
        """A reset: go back from an image that had its one boot and was not marked as good."""
        index, state = self.next()
        if state == "pending":
            index, state = 1 - index, "valid"
        if state == "new":
            state = "pending"
        part = self.otadata.with_name(self.otadata.name + ".part")
        part.write_text(f"{index} {state:8}")
        part.replace(self.otadata)  # whole, whenever somebody looks

    def spec(self) -> dict[str, Any]:
        """What device/partition.py is told."""
        file, otadata = str(self.file.resolve()), str(self.otadata.resolve())
        return {"file": file, "otadata": otadata, "size": SIZE, "running": self.next()[0]}

    def content(self, index: int, size: int) -> bytes:
        """The first bytes of a partition."""
        with self.file.open("rb") as f:
            f.seek(index * SIZE)
            return f.read(size)
