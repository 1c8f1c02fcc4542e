"""UF2, the file that the RP2's boot drive takes: blocks of 512 bytes, each with its address, number and family.

The format is Microsoft's; families are the boot ROM's. https://github.com/microsoft/uf2
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass

SIZE = 512
PAYLOAD = 256  # what the boot ROM takes: a page of flash
_HEAD = struct.Struct("<8I")
_START, _SECOND, _END = 0x0A324655, 0x9E5D5157, 0x0AB16F30
_NOT_FLASH, _HAS_FAMILY, _HAS_EXTENSION = 0x1, 0x2000, 0x8000
# MicroPython's files for the RP2350 open with a block for its erratum E10: one of two, at this address, of the family
# "absolute"; newer ones mark it for others to leave out.
_E10 = (0x10FFFF00, 0, 2, 0xE48BFF57)
_IGNORE = struct.pack("<I", 0x9957E304)
_SECTOR = 4096

FAMILIES = {
    0xE48BFF56: "rp2040",
    0xE48BFF57: "absolute",
    0xE48BFF58: "rp2xxx data",
    0xE48BFF59: "rp2350 arm-s",
    0xE48BFF5A: "rp2350 riscv",
    0xE48BFF5B: "rp2350 arm-ns",
}


class Uf2Error(ValueError):
    """The file is no UF2, or one that a board would not take; the message says why."""


@dataclass(frozen=True)
class Segment:
    """Bytes for consecutive addresses, of one family."""

    family: int
    address: int
    data: bytes


def encode(segments: list[Segment]) -> bytes:
    """The UF2 of the segments, which are of one family; each is filled up to whole pages with 0xff."""
    pages: list[tuple[int, int, bytes]] = []
    for segment in segments:
        for at in range(0, len(segment.data), PAYLOAD):
            page = segment.data[at : at + PAYLOAD].ljust(PAYLOAD, b"\xff")
            pages.append((segment.family, segment.address + at, page))
    if len({family for family, _, _ in pages}) > 1:
        raise Uf2Error("a boot ROM counts the blocks of one family, so a file has one")
    return b"".join(
        _HEAD.pack(_START, _SECOND, _HAS_FAMILY, address, PAYLOAD, number, len(pages), family)
        + page.ljust(SIZE - _HEAD.size - 4, b"\0")
        + struct.pack("<I", _END)
        for number, (family, address, page) in enumerate(pages)
    )


def used(family: int, address: int, data: bytes) -> list[Segment]:
    """The segments of `data`, which is to be at `address`, without the sectors that are empty (0xff)."""
    segments: list[Segment] = []
    for at in range(0, len(data), _SECTOR):
        sector = data[at : at + _SECTOR]
        if sector.count(0xFF) == len(sector):
            continue
        last = segments[-1] if segments else None
        if last and last.address + len(last.data) == address + at:
            segments[-1] = Segment(family, last.address, last.data + sector)
        else:
            segments.append(Segment(family, address + at, sector))
    return segments


def is_uf2(data: bytes) -> bool:
    """Whether the file says that it is one."""
    return data[:8] == struct.pack("<II", _START, _SECOND)


def decode(data: bytes) -> list[Segment]:
    """The segments of a UF2 file, by family and address; Uf2Error when it is cut, damaged or incomplete."""
    pages: dict[tuple[int, int], bytes] = {}
    numbers: dict[int, set[int]] = {}
    totals: dict[int, int] = {}
    for at, family, address, number, total, payload in _blocks(data):
        if totals.setdefault(family, total) != total or number >= total or number in numbers.setdefault(family, set()):
            raise Uf2Error(f"its block at byte {at} is number {number} of {total}, which can't be")
        numbers[family].add(number)
        pages[family, address] = payload
    for family, total in totals.items():
        if len(numbers[family]) != total:
            raise Uf2Error(f"{total - len(numbers[family])} of its {total} blocks are missing: copy it again")
    segments: list[Segment] = []
    for (family, address), payload in sorted(pages.items()):
        last = segments[-1] if segments else None
        if last and last.family == family and last.address + len(last.data) == address:
            segments[-1] = Segment(family, last.address, last.data + payload)
        else:
            segments.append(Segment(family, address, payload))
    return segments


def _blocks(data: bytes) -> Iterator[tuple[int, int, int, int, int, bytes]]:
    if not is_uf2(data) or len(data) % SIZE:
        raise Uf2Error("not a UF2 file, or a part of one")
    for at in range(0, len(data), SIZE):
        start, second, flags, address, size, number, total, family = _HEAD.unpack_from(data, at)
        (end,) = struct.unpack_from("<I", data, at + SIZE - 4)
        if (start, second, end) != (_START, _SECOND, _END) or size > SIZE - _HEAD.size - 4:
            raise Uf2Error(f"its block at byte {at} is damaged")
        begin = at + _HEAD.size
        is_marked = flags & _HAS_EXTENSION and data[begin + size : begin + size + 4] == _IGNORE
        if not (flags & _NOT_FLASH or is_marked or (address, number, total, family) == _E10):
            yield at, family if flags & _HAS_FAMILY else 0, address, number, total, data[begin : begin + size]
