"""`firstboot image`: one file for a factory to flash, and what is in one."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path
from typing import Annotated, Any

import typer

from .. import boards
from ..console import Json, fail, out, print_json, print_table
from ..files import board_files, read_bytes
from ..private import write_private
from . import ImageError, Parts, combine, find, lay, listing, split
from .filesystem import BLOCK
from .uf2 import FAMILIES, Uf2Error, decode, is_uf2

app = typer.Typer(no_args_is_help=True, help="Make one file with everything for a factory to flash, and look into one.")

# Contents that nothing here shows, not even as a hash, from which a short password could be guessed.
_SECRET = re.compile(r"/(config\.json|identity\.\d|.*key\.der)$")


@app.command()
def make(
    board: Annotated[str, typer.Argument(help="Kind of board, by upstream's name: RPI_PICO_W, ESP32_GENERIC, ...")],
    config: Annotated[Path, typer.Option(help="The config of the fleet.")] = Path("config.json"),
    app_file: Annotated[Path | None, typer.Option("--app", help="Your app.py instead of the example.")] = None,
    file: Annotated[
        list[str], typer.Option("--file", metavar="PATH[:PLACE]", help="A further file, or folder, and where it goes.")
    ] = [],  # noqa: B006 - typer makes a new one each time
    micropython: Annotated[
        Path | None, typer.Option(help="A MicroPython (.bin, .uf2) to put in front, for a blank board.")
    ] = None,
    flash_size: Annotated[str, typer.Option(help="Size of the board's flash, if not the usual: 8MB.")] = "",
    output: Annotated[Path | None, typer.Option("--output", "-o", help="The file to write.")] = None,
    source: Annotated[bool, typer.Option("--source", help="firstboot as .py instead of .mpy.")] = False,
    frozen: Annotated[bool, typer.Option("--frozen", help="firstboot is in the boards' MicroPython already.")] = False,
    as_json: Json = False,
) -> None:
    """Make the file: firmware, app and config in a file system as the board has it.

    The same input gives the same bytes. RP2 boards get a UF2, ESP32 boards a .bin and its offset.

    firstboot image make RPI_PICO_W
    firstboot image make ESP32_GENERIC_S3 --app app.py --file drivers:/lib
    firstboot image make ESP32_GENERIC --micropython ESP32_GENERIC-v1.26.bin -o factory.bin
    """
    kind = _board(board)
    area = _area(kind, flash_size) if flash_size else kind.fs
    files = board_files(config, app_file, file, source=source, frozen=frozen)
    try:
        filesystem = lay(files, area.size, kind.prog)
        parts = combine(kind, area, filesystem, read_bytes(micropython) if micropython else None)
    except (ImageError, Uf2Error) as e:
        fail(f"{kind.name}: {micropython}: {e}" if micropython else f"{kind.name}: {e}")
    path = output or Path(f"firstboot-{kind.name}.{parts.kind}")
    try:
        write_private(path, parts.data)
    except OSError as e:
        fail(f"{path} can't be written: {e.strerror}")
    digest = hashlib.sha256(parts.data).hexdigest()
    if as_json:
        print_json(
            {
                "path": str(path),
                "board": kind.name,
                "kind": parts.kind,
                "offset": parts.offset,
                "bytes": len(parts.data),
                "sha256": digest,
                "files": {name: len(data) for name, data in sorted(files.items())},
                "write": _how(kind, parts, path),
            }
        )
        return
    used = sum(map(len, files.values()))
    console = out()
    console.print(
        f"[bold]{path}[/]: {len(files)} files, {used / 1024:.0f} KiB, in a file system of {area.size >> 10} KiB"
    )
    console.print(f"  sha256 {digest}")
    console.print(f"  to flash it: {_how(kind, parts, path)}\n  [dim]it holds the config's secrets[/]")


@app.command()
def inspect(
    file: Annotated[Path, typer.Argument(help="A .bin or .uf2, or a dump of a board's flash.")], as_json: Json = False
) -> None:
    """List what is in such a file: its files with sizes and hashes. What is secret is not shown.

    firstboot image inspect firstboot-RPI_PICO_W.uf2
    """
    data = read_bytes(file)
    try:
        flash, address = split(data)
        start = find(flash)
        if start is None:
            fail(f"{file}: holds no littlefs file system", "was it made by `firstboot image make`?")
        files, blocks, used = listing(flash, start)
        families = sorted({FAMILIES.get(s.family, hex(s.family)) for s in decode(data)}) if is_uf2(data) else []
    except (ImageError, Uf2Error) as e:
        fail(f"{file}: {e}")
    found: dict[str, Any] = {
        "path": str(file),
        "bytes": len(data),
        "kind": "uf2" if is_uf2(data) else "bin",
        "families": families,
        "offset": address + start,
        "filesystem": {"bytes": blocks * BLOCK, "used": used * BLOCK},
        "boards": _fitting(address + start, blocks * BLOCK, bool(families)),
        "files": [
            {"path": path, "bytes": len(content), "sha256": None if _is_secret(path) else _hash(content)}
            for path, content in sorted(files.items())
        ],
    }
    if as_json:
        print_json(found)
        return
    _show(found)


def _show(found: dict[str, Any]) -> None:
    from rich.markup import escape

    console = out()
    kind = f"UF2 ({', '.join(found['families'])})" if found["families"] else "binary"
    size = found["filesystem"]
    console.print(
        f"[bold]{escape(found['path'])}[/]: {kind}, file system of {size['bytes'] >> 10} KiB at {found['offset']:#x}, "
        f"{size['used'] >> 10} KiB in use"
    )
    console.print(f"  as of {', '.join(found['boards']) or 'no board that firstboot knows'}")
    rows = [
        (escape(one["path"]), f"{one['bytes']:8}", one["sha256"][:16] if one["sha256"] else "[dim]secret[/]")
        for one in found["files"]
    ]
    print_table(("file", "   bytes", "sha256"), rows)


def _board(name: str) -> boards.Board:
    try:
        return boards.load(name)
    except boards.BoardError as e:
        raise typer.BadParameter(str(e), param_hint="BOARD") from e


def _area(board: boards.Board, flash_size: str) -> boards.Area:
    match = re.fullmatch(r"(\d+) ?([KM])i?B?", flash_size, re.I)
    if not match:
        raise typer.BadParameter("a size like 4MB", param_hint="--flash-size")
    try:
        return board.fs_on(int(match[1]) << {"K": 10, "M": 20}[match[2].upper()])
    except boards.BoardError as e:
        raise typer.BadParameter(str(e), param_hint="--flash-size") from e


def _how(board: boards.Board, parts: Parts, path: Path) -> str:
    if board.uf2:
        return f"copy it onto the drive {board.uf2.drive} (hold BOOTSEL while plugging in)"
    return f"esptool --chip {board.mcu} write-flash {parts.offset:#x} {path}"


def _fitting(offset: int, size: int, is_uf2_file: bool) -> list[str]:
    # By where the file system is, if the file says, and by its size.
    found = []
    for name in boards.names():
        board = boards.load(name)
        if bool(board.uf2) != is_uf2_file:
            continue
        base = board.uf2.base if board.uf2 else 0
        places = {base + board.fs.offset, board.fs.offset - board.firmware, 0 if not is_uf2_file else -1}
        if board.fs.size == size and offset in places:
            found.append(name)
    return found


def _is_secret(path: str) -> bool:
    return _SECRET.search(path) is not None


def _hash(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
