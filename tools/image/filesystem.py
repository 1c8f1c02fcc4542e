"""littlefs2 as the ports mount it: lay a file system with files in it, find one in a dump of flash, list it."""

from __future__ import annotations

import posixpath
import struct
from typing import Any

from littlefs import LittleFS, LittleFSError

BLOCK = 4096  # every port's erase size
_READ = 32  # what the ports give VfsLfs2 as readsize and lookahead; its cache is four times the program size
_LOOKAHEAD = 32
_CYCLES = 100
_ATTRIBUTE = "p"  # one that no file has
_MAGIC = b"littlefs"
_MAGIC_AT = 8  # behind revision count and tag
_SUPERBLOCK = 24  # block size and count, behind magic, tag and version
NO_SPACE = -28  # of LittleFSError
# The board writes identity (two slots), outbox and updates: less room than this and it could not keep its identity.
_SPARE = 8


class ImageError(ValueError):
    """The image can't be made or read; the message says why."""


def lay(files: dict[str, bytes], size: int, prog: int) -> bytes:
    """The bytes of a file system of `size` bytes with `files` (path on the board -> content).

    `prog`: the port's program size (board.prog). ImageError when they do not fit, or littlefs refuses one.
    """
    total = sum(map(len, files.values()))
    try:
        context = write(files, size, prog)
        spare = size // BLOCK - context.used_block_count
    except LittleFSError as e:
        if e.code != NO_SPACE:
            raise ImageError(f"the files can't be laid: {e}") from e
        spare = 0
    if spare < _SPARE:
        raise ImageError(
            f"{len(files)} files of {total} bytes don't fit a file system of {size} bytes"
            f" with room for the board's own {_SPARE * BLOCK}"
        )
    return bytes(context.context.buffer)


def write(files: dict[str, bytes], size: int, prog: int) -> LittleFS:
    """A new file system with `files`, as lay() makes it; LittleFSError."""
    # A board reads a folder's whole log for every name in a path, and an import looks up four paths. So each log is
    # written anew at the end, without the history of its files: half of what a boot reads. littlefs does so at the
    # next commit, be it empty, where a log's block is full; programmed a whole block at a time, each one is.
    cache = _cache(prog)
    fs = _new(size, BLOCK, read_size=BLOCK, cache_size=BLOCK, inline_max=min(cache, BLOCK // 8))
    for path in sorted(files):
        folder = posixpath.dirname(path)
        if folder not in ("", "/"):
            fs.makedirs(folder, exist_ok=True)
        with fs.open(path, "wb") as f:
            f.write(files[path])
    fs.unmount()
    packed = _new(size, prog, context=fs.context, read_size=_READ, cache_size=cache, mount=False)
    packed.mount()
    for folder, folders, names in list(packed.walk("/")):
        for name in (folders + names)[:1]:
            packed.removeattr(posixpath.join(folder, name), _ATTRIBUTE)
    return packed


def _cache(prog: int) -> int:
    return 4 * max(_READ, prog)


def _new(size: int, prog: int, **more: Any) -> LittleFS:
    return LittleFS(
        block_size=BLOCK,
        block_count=size // BLOCK,
        prog_size=prog,
        lookahead_size=_LOOKAHEAD,
        block_cycles=_CYCLES,
        **more,
    )


def find(data: bytes) -> int | None:
    """Where in `data` a littlefs2 file system begins; None: there is none."""
    at = data.find(_MAGIC, _MAGIC_AT)
    while at >= 0:
        start = at - _MAGIC_AT
        if start % BLOCK == 0 and _geometry(data, start):
            # The superblock is written to the first two blocks in turn, and after an update only one may be left.
            first = start - BLOCK
            return first if first >= 0 and data[first + _MAGIC_AT : first + _MAGIC_AT + 8] == _MAGIC else start
        at = data.find(_MAGIC, at + 1)
    return None


def _geometry(data: bytes, start: int) -> int:
    # How many blocks the superblock speaks of; 0: this is none.
    if len(data) < start + _SUPERBLOCK + 8:
        return 0
    block, count = struct.unpack_from("<II", data, start + _SUPERBLOCK)
    return count if block == BLOCK else 0


def listing(data: bytes, start: int = 0) -> tuple[dict[str, bytes], int, int]:
    """The files (path -> content) of the file system at `start`, its blocks, and how many are in use. ImageError."""
    blocks = _geometry(data, start)
    if not 2 <= blocks <= 1 << 16:
        raise ImageError("holds no littlefs file system with blocks of 4096 bytes")
    buffer = bytearray(data[start : start + blocks * BLOCK])
    buffer += b"\xff" * (blocks * BLOCK - len(buffer))  # a UF2 leaves out what is empty
    fs = LittleFS(block_size=BLOCK, block_count=blocks, mount=False)
    fs.context.buffer = buffer
    try:
        fs.mount()
        files = {}
        for folder, _, names in fs.walk("/"):
            for name in names:
                path = posixpath.join(folder, name)
                with fs.open(path, "rb") as f:
                    files[path] = f.read()
        return files, blocks, fs.used_block_count
    except LittleFSError as e:
        raise ImageError(f"holds a littlefs file system that is broken ({e})") from e
