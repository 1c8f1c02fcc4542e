"""`firstboot vboard`, or `python -m tools.vboard`: virtual boards by hand."""

from __future__ import annotations

import re
import signal
import sys
import threading
from functools import partial
from pathlib import Path
from typing import Annotated

import typer
from littlefs import LittleFSError

from ..build import BuildError, firmware
from ..console import Failed, Json, err, out, print_json
from ..image.filesystem import NO_SPACE
from ..vm import VmError
from .board import KINDS, Run, VirtualBoard, WifiPlan
from .image import BLOCK, Image

app = typer.Typer(no_args_is_help=True)

ImageFile = Annotated[Path, typer.Argument(metavar="IMAGE", help="The file that holds the board's flash.")]


@app.callback()
def vboard() -> None:
    """A virtual board: MicroPython with a flash image in a file, for trying and testing without a board."""


@app.command()
def put(
    image: ImageFile,
    files: Annotated[list[Path] | None, typer.Argument(help="Files and folders of this computer.")] = None,
    to: Annotated[str, typer.Option(help="Folder on the board.")] = "/",
    with_firmware: Annotated[bool, typer.Option("--firmware", help="firstboot too, compiled.")] = False,
    format_it: Annotated[bool, typer.Option("--format", help="Empty the flash first.")] = False,
    size: Annotated[int, typer.Option(help="KiB of a new image.", min=16)] = 1024,
    as_json: Json = False,
) -> None:
    """Put files onto the flash image; one that is not there yet is made.

    firstboot vboard put b.img
    firstboot vboard put b.img --firmware config.json app.py
    firstboot vboard put b.img drivers --to /lib
    """
    flash, is_new = Image(image), not image.exists()
    if ".." in to.split("/"):
        raise typer.BadParameter("there is no .. on a board: a folder from the root of its flash", param_hint="--to")
    try:
        contents = firmware() if with_firmware else {}
        contents.update(_local(files or [], to))
        if format_it or is_new:
            flash.format(size * 1024 // BLOCK)
        if contents:
            flash.put(contents)
    except (BuildError, VmError, OSError, ValueError, LittleFSError) as e:
        if is_new:
            image.unlink(missing_ok=True)  # or the next try would not be given its --size
        raise _failed(e, image) from e
    if as_json:
        print_json({path: len(data) for path, data in sorted(contents.items())})
        return
    for path, data in sorted(contents.items()):
        out().print(f"{len(data):8,}  {path}", markup=False)


@app.command("ls")
def list_files(image: ImageFile, as_json: Json = False) -> None:
    """List what is on the flash image.

    firstboot vboard ls b.img
    """
    try:
        files = Image(image).ls()
    except (OSError, ValueError) as e:
        raise _failed(e, image) from e
    if as_json:
        print_json(files)
        return
    for path, size in sorted(files.items()):
        out().print(f"{size:8,}  {path}", markup=False)


@app.command()
def run(
    image: ImageFile,
    kind: Annotated[str, typer.Option(help=f"The board that it is: {', '.join(KINDS)}.")] = "ESP32_GENERIC",
    heap: Annotated[int, typer.Option(help="KiB of MicroPython heap.", min=8)] = 128,
    wifi: Annotated[
        list[str] | None,
        typer.Option(help="A network in the air, SSID:PASSWORD; again for more. If none is given: lab:lab-password."),
    ] = None,
    until: Annotated[str, typer.Option(help="Power off when a line of the log matches this expression.")] = "",
    timeout: Annotated[float, typer.Option(help="Power off after so many seconds; 0: never.", min=0)] = 0,
    console: Annotated[
        bool, typer.Option("--console", help="Plug in a cable: mpremote and firstboot flash it.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Power the board up and show its log, until main.py ends, the time is up, or Ctrl-C.

    Exit code 1 when the board crashed, or --until was not seen within --timeout.

    firstboot vboard run b.img
    firstboot vboard run b.img --kind RPI_PICO_W --until "telemetry: acknowledged" --timeout 60
    firstboot vboard run b.img --console
    """
    if kind not in KINDS:
        raise typer.BadParameter(f"one of {', '.join(KINDS)}", param_hint="--kind")
    try:
        re.compile(until)
    except re.error as e:
        hint = "it wants a regular expression, such as 'telemetry: acknowledged'"
        raise typer.BadParameter(f"{e}: {hint}", param_hint="--until") from e
    try:
        Image(image).ls()
    except (OSError, ValueError) as e:
        raise _failed(e, image) from e
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # ends it as Ctrl-C does
    plan = WifiPlan(dict(_network(text) for text in wifi)) if wifi else WifiPlan()
    board = VirtualBoard(
        Image(image), kind, heap * 1024, wifi=plan, echo=None if as_json else partial(print, flush=True)
    )
    if console:
        err().print(f"the board's port is {Path(board.serial()).absolute()}", markup=False)
    try:
        went = _powered(board, until, timeout)
    except VmError as e:
        raise _failed(e, image) from e
    if as_json:
        log = [{"at": round(at, 3), "line": line} for at, line in went.lines]
        print_json({"ended": went.ended, "boots": went.boots, "log": log, "events": went.events})
    if went.ended == "timeout" and not until:
        return  # as it was asked for
    if went.ended not in ("found", "idle", "stopped"):
        err().print(f"ended by {went.ended} after {went.boots} boot{'s' * (went.boots != 1)}", style="red")
        raise typer.Exit(1)


def _powered(board: VirtualBoard, until: str, timeout: float) -> Run:
    try:
        return board.run(until or None, timeout or threading.TIMEOUT_MAX)
    except KeyboardInterrupt:
        board.run_so_far.ended = "stopped"
        return board.stop()


def _local(paths: list[Path], to: str) -> dict[str, bytes]:
    # A folder comes as it is, below its own name.
    folder = "/" + to.strip("/")
    found = {}
    for path in paths:
        files = sorted(p for p in path.rglob("*") if p.is_file()) if path.is_dir() else [path]
        for file in files:
            place = file.relative_to(path.parent).as_posix()
            found[f"{folder.rstrip('/')}/{place}"] = file.read_bytes()
    return found


def _network(text: str) -> tuple[str, str]:
    ssid, _, password = text.partition(":")
    return ssid, password


def _failed(error: Exception, image: Path) -> Failed:
    if isinstance(error, FileNotFoundError):
        if str(error.filename or error) == str(image):
            return Failed(f"there is no {image}", f"firstboot vboard put {image} --firmware config.json makes it")
        return Failed(f"there is no {error.filename}")
    if isinstance(error, LittleFSError):
        if error.code == NO_SPACE:
            return Failed(f"the files don't fit onto {image}", "--size gives a new image more room")
        return Failed(f"the files can't be put onto {image}: {error}")
    return Failed(str(error))


if __name__ == "__main__":
    from ..cli import app as program

    program(["vboard", *sys.argv[1:]], prog_name="python -m tools.cli")
