"""The boards that firstboot knows: what boards/*/board.json says, as the tools and the virtual boards read it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from .places import BOARDS


class BoardError(ValueError):
    """There is no such board, or none with such a flash; the message says which there are."""


@dataclass(frozen=True)
class Area:
    """A part of a board's flash: bytes from its start, and its size."""

    offset: int
    size: int


@dataclass(frozen=True)
class Uf2:
    """How the RP2's boot ROM takes a file: family id, the drive's name, where flash is in memory, bytes a block.

    The RP2350's family is "absolute": an image at a fixed address, whatever it is. MicroPython's own UF2 differs.
    """

    family: int
    drive: str
    base: int
    payload: int
    usb: str


@dataclass(frozen=True)
class Board:
    """One kind of board, by upstream's name. Pins: a number, or a name that the port knows; None: there is none."""

    name: str
    port: str  # "esp32" or "rp2"
    mcu: str  # as esptool and upstream call it: "esp32", "esp32s3", "esp32c3", "rp2040", "rp2350"
    product: str
    machine: str  # os.uname().machine
    since: tuple[int, int]  # the first MicroPython for it that firstboot runs on
    flash_size: int
    block: int  # bytes that are erased at once
    prog: int  # bytes that the port has littlefs program at once
    firmware: int  # offset of MicroPython's own image
    fs: Area
    fs_to_end_since: tuple[int, int] | None  # from this MicroPython on, a larger flash has a larger file system
    nvs: Area | None
    uf2: Uf2 | None
    usb: tuple[str, ...]  # "vid:pid" that such a board may have, bridge chips included
    led: int | str | None
    led_on: int  # the pin's value that lights it
    button: int | str | None  # a pin, or the function that tells
    button_pressed: int
    watchdog_ms: int  # the longest that the port's watchdog can wait
    ram: int
    heap: int | None  # bytes of the heap's first part where it grows (ESP32); None: all RAM that is left

    @property
    def chip(self) -> str:
        """The chip as the firmware calls it: the last word of `machine`, such as "ESP32" or "RP2040"."""
        return self.machine.rpartition(" with ")[2]

    def fs_on(self, flash_size: int) -> Area:
        """The file system of a board like this one with a flash of `flash_size` bytes (MicroPython 1.26 and newer).

        BoardError when the flash has no room for one.
        """
        size = self.fs.size if self.fs_to_end_since is None else flash_size - self.fs.offset
        if size < self.block or self.fs.offset + size > flash_size:
            raise BoardError(f"{flash_size >> 10} KiB: {self.name}'s file system begins at {self.fs.offset >> 10} KiB")
        return Area(self.fs.offset, size)


def names() -> list[str]:
    """The boards' names, sorted."""
    return sorted(path.parent.name for path in BOARDS.glob("*/board.json"))


@lru_cache
def load(name: str) -> Board:
    """The board called `name`, such as "RPI_PICO_W"; BoardError."""
    if name not in names():
        raise BoardError(f"there is no board {name}; firstboot knows {', '.join(names())}")
    return _board(name, json.loads((BOARDS / name / "board.json").read_text()))


def _board(name: str, data: dict[str, Any]) -> Board:
    flash, fs = data["flash"], data["flash"]["fs"]
    uf2, led, button = data["uf2"], data["led"] or {}, data["button"]
    return Board(
        name=name,
        port=data["port"],
        mcu=data["mcu"],
        product=data["product"],
        machine=data["machine"],
        since=_version(data["since"]),
        flash_size=_number(flash["size"]),
        block=flash["block"],
        prog=fs["prog"],
        firmware=_number(flash["firmware"]),
        fs=_area(fs),
        fs_to_end_since=_version(fs["to_end_since"]) if fs["to_end_since"] else None,
        nvs=_area(flash["nvs"]) if flash["nvs"] else None,
        uf2=Uf2(_number(uf2["family"]), uf2["drive"], _number(uf2["base"]), uf2["payload"], uf2["usb"])
        if uf2
        else None,
        usb=tuple(data["usb"]),
        led=led.get("pin"),
        led_on=led.get("on", 1),
        button=button.get("pin", button.get("call")),
        button_pressed=button["pressed"],
        watchdog_ms=data["watchdog_ms"],
        ram=data["ram"]["bytes"],
        heap=data["ram"]["heap"],
    )


def _number(text: str) -> int:
    return int(text, 16)


def _area(data: dict[str, Any]) -> Area:
    return Area(_number(data["offset"]), _number(data["size"]))


def _version(text: str) -> tuple[int, int]:
    major, minor = text.split(".")
    return int(major), int(minor)
