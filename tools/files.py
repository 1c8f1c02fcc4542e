"""Everything that goes onto a board's flash, whoever puts it there: firmware, app, config and what these name."""

from __future__ import annotations

from pathlib import Path, PurePosixPath

from .build import BuildError, compile_file, firmware
from .config import bundle
from .console import err, fail
from .places import FIRMWARE
from .vm import VmError


def board_files(
    config: Path,
    app_file: Path | None = None,
    more: list[str] | None = None,
    *,
    source: bool = False,
    frozen: bool = False,
) -> dict[str, bytes]:
    """Path on the board -> content. Failed when a board could not start with it.

    `more`: further files or folders, as PATH or PATH:PLACE; a folder's content goes to PLACE, a file into it where that
    is a folder or ends in a slash. `source`: the firmware as .py. `frozen`: without the
    firmware, which is in the board's MicroPython already.
    """
    named = bundle(config)
    app_file = app_file or FIRMWARE / "app.py"
    app = read_bytes(app_file)
    try:
        files = firmware(mpy=not source, strip=True)
        compile_file(app_file, "app.py")  # by MicroPython's own compiler: better here than in the field
    except VmError as e:
        fail(f"firstboot can't be put together: {e}")
    except BuildError as e:
        fail(f"{app_file} does not compile: {e}")
    if frozen:
        files = {"/main.py": files["/main.py"]}
    files.update({"/app.py": app, **named})
    for one in more or []:
        files.update(_further(one, files))
    for place in files:
        for folder in PurePosixPath(place).parents:
            if str(folder) in files:
                fail(f"{place} can't be on the board: {folder} is a file")
    if b'"coap"' in files["/config.json"] and not (
        frozen or any(place.startswith("/lib/microcoapy") for place in files)
    ):
        err().print("[bold yellow]warning:[/] transport coap needs microCoAPy: --file microcoapy:/lib/microcoapy")
    return files


def read_bytes(path: Path) -> bytes:
    """The content of a file that the user named; Failed."""
    try:
        return path.read_bytes()
    except OSError as e:
        fail(f"{path} can't be read: {e.strerror}")


def _further(text: str, there: dict[str, bytes]) -> dict[str, bytes]:
    name, _, given = text.partition(":")
    path = Path(name)
    parts = [part for part in (given or path.name).split("/") if part not in ("", ".")]
    if ".." in parts:
        fail(f"--file {text}: there is no .. on a board", "give the place from the root of its flash, such as /lib")
    place = "".join(f"/{part}" for part in parts)
    if not path.is_dir():
        is_folder = not place or given.endswith("/") or any(other.startswith(f"{place}/") for other in there)
        return {f"{place}/{path.name}" if is_folder else place: read_bytes(path)}
    return {
        f"{place}/{inner.relative_to(path).as_posix()}": read_bytes(inner)
        for inner in sorted(path.rglob("*"))
        if inner.is_file() and "__pycache__" not in inner.parts
    }
