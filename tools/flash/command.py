"""`firstboot flash`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from ..config import checked, read
from ..console import Json, err, fail, out, print_json, print_table
from ..files import board_files
from . import chip
from .fleet import Outcome, Show, flash
from .history import COLOURS, LEDGER, LedgerFile
from .ledger import Ledger
from .mask import Mask
from .ports import Port, choose
from .work import Plan

app = typer.Typer()

_COAP = "mpremote mip install github:insighio/microCoAPy, or --file microcoapy:/lib/microcoapy with a checkout"


@app.command()
def flash_boards(
    config: Annotated[Path, typer.Option(help="The boards' config.json.")] = Path("config.json"),
    app_file: Annotated[
        Path | None, typer.Option("--app", help="Your app.py. By default the one beside the config.")
    ] = None,
    more: Annotated[
        list[str] | None,
        typer.Option("--file", metavar="PATH[:PLACE]", help="A further file or folder."),
    ] = None,
    own: Annotated[
        Path | None, typer.Option(help="Folder with a folder for each board, by its name: files that only it gets.")
    ] = None,
    every: Annotated[bool, typer.Option("--all", help="All attached boards.")] = False,
    serial: Annotated[list[str] | None, typer.Option(help="A board by its USB serial number; again for more.")] = None,
    port: Annotated[list[str] | None, typer.Option(help="A board by its port; again for more.")] = None,
    micropython: Annotated[
        Path | None, typer.Option(help="MicroPython itself first: .bin (ESP32) or .uf2 (RP2040, RP2350).")
    ] = None,
    erase: Annotated[bool, typer.Option(help="Erase an ESP32 wholly before: identity and files too.")] = False,
    drive: Annotated[list[str] | None, typer.Option(help="A board in its boot ROM, by its UF2 drive.")] = None,
    source: Annotated[bool, typer.Option("--source", help="firstboot as .py instead of .mpy.")] = False,
    frozen: Annotated[bool, typer.Option("--frozen", help="firstboot is in the boards' MicroPython already.")] = False,
    resume: Annotated[bool, typer.Option("--resume", help="Leave boards alone that the ledger knows as done.")] = False,
    follow: Annotated[float, typer.Option(help="Seconds for a board to reach the server; 0: don't wait.", min=0)] = 60,
    patience: Annotated[float, typer.Option(help="Seconds for a board to answer.", min=0.5)] = 10,
    jobs: Annotated[int, typer.Option(help="Boards at a time.", min=1)] = 32,
    ledger: LedgerFile = LEDGER,
    as_json: Json = False,
) -> None:
    """Flash boards: files that differ are copied, verified by hash, and each board is followed to its first telemetry.

    Boards are named by USB serial number. One that fails stops no other; exit code 1 when any did. What is done goes
    into the ledger, and the same command again goes on where it was.

    firstboot flash
    firstboot flash --all --micropython ESP32_GENERIC-20250911-v1.26.1.bin --erase
    firstboot flash --serial e6614864d3417f36 --config pilot.json
    """
    document = read(config)
    flat = checked(document, config)
    image = chip.Image.of(micropython) if micropython else None
    beside = config.parent / "app.py"
    app_file = app_file or (beside if beside.is_file() else None)
    files = board_files(config, app_file, more, source=source, frozen=frozen)
    _check_own(flat, files, own, follow)
    if drive and (image is None or image.board.uf2 is None):
        fail("a board in its boot ROM takes MicroPython first", "give a .uf2 file with --micropython")
    waiting = [str(path) for path in chip.drives()] if image and image.board.uf2 else []
    ports = choose(port or [], serial or [], every, drive or [], waiting)
    plan = Plan(
        files=files,
        name=flat["provision.name"],
        mask=Mask(document),
        micropython=image,
        erase=erase,
        own=own,
        follow=follow,
        patience=patience,
        reuse=resume,
        needs={"microcoapy": _COAP} if flat["transport"] == "coap" else {},
        defaults=() if app_file else ("/app.py",),  # the example must not take the place of somebody's work
    )
    book = Ledger(ledger)
    try:
        with _Bars(err()) as bars:
            outcomes = flash(ports, plan, book, jobs, bars)
    finally:
        book.close()
    if as_json:
        print_json({"boards": [outcome.as_document() for outcome in outcomes]})
    else:
        _print(outcomes)
    if not all(outcome.good for outcome in outcomes):
        raise typer.Exit(1)


def _check_own(flat: dict[str, Any], files: dict[str, bytes], own: Path | None, follow: float) -> None:
    if own and not own.is_dir():
        fail(f"there is no folder {own}", "--own has a folder for each board, as `firstboot keys issue` makes them")
    cert = "/" + flat["x509.cert"].lstrip("/")
    if flat["credentials"] == "chain" and cert not in files and not own and follow:
        fail(
            f"x509.cert: there is no {cert[1:]} for the boards, and without one they don't get to the server",
            "--own FOLDER has those of `firstboot keys issue`; --follow 0 is for boards that make their key first",
            field="x509.cert",
        )


class _Bars(Show):
    """A progress bar a board on a terminal; elsewhere a line a board when it is through."""

    def __init__(self, console: Any) -> None:
        from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

        self.console = console
        self.bars = Progress(
            TextColumn("{task.description}"), BarColumn(24), TextColumn("{task.fields[step]}"), TimeElapsedColumn(),
            console=console, disable=not console.is_terminal,
        )  # fmt: skip
        self.tasks: dict[str, Any] = {}

    def __enter__(self) -> _Bars:
        self.bars.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.bars.stop()

    def begin(self, ports: list[Port]) -> None:
        from rich.markup import escape

        for port in ports:
            self.tasks[port.device] = self.bars.add_task(escape(port.name), total=100, step="waiting")

    def progress(self, port: Port, percent: float, step: str) -> None:
        self.bars.update(self.tasks[port.device], completed=percent, step=step)

    def end(self, outcome: Outcome) -> None:
        shown = f"[{COLOURS.get(outcome.result, 'red')}]{outcome.result}[/]"
        task = self.tasks[outcome.port.device]
        self.bars.update(task, description=outcome.board, step=shown, completed=100 if outcome.good else None)
        self.bars.stop_task(task)
        if not self.console.is_terminal:
            self.console.print(f"{outcome.board}: {shown} after {outcome.seconds:.1f} s")


def _print(outcomes: list[Outcome]) -> None:
    from rich.markup import escape

    rows = []
    for one in outcomes:
        shown = f"[{COLOURS.get(one.result, 'red')}]{one.result}[/]"
        detail = f"at {one.step}: {one.detail}" if one.detail else f"in {one.seconds:.1f} s"
        hint = f"\n[dim]-> {escape(one.hint)}[/]" if one.hint else ""
        rows.append((escape(one.board), escape(one.work.name), str(one.work.copied), shown, escape(detail) + hint))
    print_table(("board", "name", "files", "result", ""), rows, whole=4)
    good = sum(one.good for one in outcomes)
    out().print(f"{good} of {len(outcomes)} boards done", style="green" if good == len(outcomes) else "bold red")
