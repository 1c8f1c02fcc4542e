"""What a factory file is put together from, and taken apart into: MicroPython and the file system, by address."""

from __future__ import annotations

from dataclasses import dataclass

from ..boards import Area, Board
from . import uf2
from .chip import chip_of
from .filesystem import ImageError


@dataclass(frozen=True)
class Parts:
    """The file's bytes, where in flash they go, and "bin" or "uf2"."""

    data: bytes
    offset: int
    kind: str


def combine(board: Board, area: Area, filesystem: bytes, micropython: bytes | None = None) -> Parts:
    """The file that a factory writes onto `board`; with `micropython` (its .bin or .uf2) onto a blank one.

    ImageError when that firmware is another chip's, or reaches into the file system.
    """
    if micropython is not None:
        chip = chip_of(micropython)
        if chip != board.mcu:
            raise ImageError(f"is a MicroPython for {chip or 'no chip that firstboot knows'}, not for {board.mcu}")
    if board.uf2:
        return _uf2(board, area, filesystem, micropython)
    if micropython is None:
        return Parts(filesystem, area.offset, "bin")
    gap = area.offset - board.firmware - len(micropython)
    if gap < 0:
        raise ImageError(f"is {-gap} bytes too large: the file system begins at {area.offset:#x}")
    return Parts(micropython + b"\xff" * gap + filesystem, board.firmware, "bin")


def _uf2(board: Board, area: Area, filesystem: bytes, micropython: bytes | None) -> Parts:
    assert board.uf2
    segments = uf2.used(board.uf2.family, board.uf2.base + area.offset, filesystem)
    if micropython is None:
        return Parts(uf2.encode(segments), area.offset, "uf2")
    theirs = uf2.decode(micropython)
    if {segment.family for segment in theirs} != {board.uf2.family}:
        raise ImageError(
            f"a {board.product} takes MicroPython and file system as two files, one after the other: make it without"
        )
    end = max(segment.address + len(segment.data) for segment in theirs)
    if end > board.uf2.base + area.offset:
        raise ImageError(f"reaches into the file system, which begins at {area.offset:#x}")
    return Parts(uf2.encode(theirs + segments), board.firmware, "uf2")


def split(data: bytes) -> tuple[bytes, int]:
    """The flash contents that a factory file stands for, and the address of its first byte (0 for a .bin)."""
    if not uf2.is_uf2(data):
        return data, 0
    segments = uf2.decode(data)
    start = min(segment.address for segment in segments)
    end = max(segment.address + len(segment.data) for segment in segments)
    if end - start > 1 << 26:
        raise ImageError("its addresses are further apart than any flash is large")
    flash = bytearray(b"\xff" * (end - start))
    for segment in segments:
        flash[segment.address - start : segment.address - start + len(segment.data)] = segment.data
    return bytes(flash), start
