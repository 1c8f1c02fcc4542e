"""A software package for boards: a plain ustar tar of the user's app and its modules, and what must be in it."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path

from .build import BuildError, compile_file
from .console import fail
from .files import read_bytes

_APP = ("app.mpy", "app.py")
_OURS = ("firstboot", "main", "boot")
_NAME_MOST = 100  # bytes; a longer one has two fields in the tar, of which a board may read but the last
_BLOCK = 512
_END = b"\0" * (2 * _BLOCK)


def packed(paths: list[Path], *, source: bool, without: Path) -> dict[str, bytes]:
    """Place on the board -> content of files and of all in folders, .py compiled unless `source`; Failed.

    A file goes to the root; a folder keeps its name. `without`: a file that is not meant, though it lies there.
    """
    files: dict[str, bytes] = {}
    for path in paths:
        for place, file in _walked(path):
            if file.resolve() == without.resolve():
                continue
            _check_place(place)
            name, data = _content(file, place, source)
            if name in files:
                fail(f"two files would be {name}, the second one of them {file}", "rename one, or leave it out")
            files[name] = data
    if not any(name in files for name in _APP):
        inner = [name for name in files if name.rpartition("/")[2] in _APP]
        fail(
            "app.py is not among the files: it is what firstboot runs",
            f"{inner[0]} is in a folder; give the file itself" if inner else "give app.py, and what it imports",
        )
    return files


def archive(files: dict[str, bytes]) -> bytes:
    """The tar of these: by name, without times and owners, so that the same files make the same bytes."""
    whole = io.BytesIO()
    with tarfile.open(fileobj=whole, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        for name, data in sorted(files.items()):
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
        end = tar.offset
    # tarfile fills up to 10 KiB, for tapes; a board would have to fetch that.
    return whole.getvalue()[:end] + _END


def check_software(path: Path, data: bytes) -> None:
    """Failed unless the data of file `path` is a tar with an app."""
    try:
        with tarfile.open(fileobj=io.BytesIO(data), mode="r:") as tar:
            names = tar.getnames()
    except tarfile.TarError:
        fail(f"{path} is no tar", "`firstboot update pack` makes one of your app")
    if not any(name in names for name in _APP):
        fail(f"{path} has no app.py or app.mpy at its root", "`firstboot update pack` makes one of your app")


def check_firmware(path: Path, data: bytes) -> None:
    """Failed unless the data of file `path` is an application image for an ESP32."""
    if data[:1] != b"\xe9":
        fail(
            f"{path} is no application image for an ESP32: those begin with the byte E9",
            "MicroPython's build calls it micropython.bin, its download page .app-bin",
        )


def _walked(path: Path) -> list[tuple[str, Path]]:
    # (place on the board, file), in the order of the places.
    if not path.is_dir():
        return [(path.name, path)]
    found = []
    for inner in sorted(path.rglob("*")):
        parts = inner.relative_to(path).parts
        if inner.is_file() and not any(part.startswith(".") or part == "__pycache__" for part in parts):
            found.append(("/".join((path.resolve().name, *parts)), inner))
    return found


def _check_place(place: str) -> None:
    top = place.removeprefix("lib/").partition("/")[0]
    if top.partition(".")[0] in _OURS:
        fail(
            f"{place} can't be in an update: firstboot itself comes with the firmware",
            "that is firstboot, main.py and boot.py; an update has app.py and its modules",
        )
    if len(place.encode()) > _NAME_MOST:
        fail(f"the name {place} is longer than {_NAME_MOST} bytes")


def _content(file: Path, place: str, source: bool) -> tuple[str, bytes]:
    data = read_bytes(file)
    if not place.endswith(".py"):
        return place, data
    try:
        made = compile_file(file, place)  # of source, too: better here than in the field
    except BuildError as e:
        fail(f"{file} does not compile: {e}")
    return (place, data) if source else (f"{place[:-3]}.mpy", made)
