"""`make demo`: a virtual board introduces itself to a stand-in for ThingsBoard, restarts, and is known."""

from __future__ import annotations

import os
import re
import sys
import time
from dataclasses import dataclass

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from . import measure
from .bench.budget import over
from .build import BuildError
from .config import problems
from .stage import COUNTING, Stage
from .standin.server import Event
from .update_pack import archive
from .vboard import Image, Run
from .vm import VmError

SAMPLES = 5

# What an update brings: an app that works, and one that does not.
NEW = b"""\
def read():
    return {"version": 2}
"""
BROKEN = b"""\
import a_module_that_nobody_packed


def read():
    return {"version": 3}
"""

console = Console(highlight=False)


@dataclass
class Boot:
    """What one power-up of the board came to."""

    run: Run
    requests: int
    acknowledged: int
    first_telemetry: float | None
    heap: int


def main(
    transport: str = typer.Option("mqtt", help="mqtt, http or coap."),
    tls: bool = typer.Option(False, help="With TLS, verified."),
    credentials: str = typer.Option("token", help="token, server, basic, derived or x509."),
    update: bool = typer.Option(False, help="Then two updates over the air, one of which fails."),
) -> None:
    """Boot the firmware twice on the MicroPython VM: the first time it provisions itself, the second time not."""
    began = time.monotonic()
    tls = tls or credentials == "x509"
    wrong = _wrong(transport, tls, credentials)
    if wrong:
        console.print(f"demo: failed: {wrong}", style="bold red", markup=False)
        raise typer.Exit(2)
    try:
        config = {"ota": {"check": 0.5}} if update else {}
        with Stage(transport, tls, credentials, files={"/app.py": COUNTING}, config=config, on_event=_say) as stage:
            failures = _demo(stage, update)
    except (VmError, BuildError, RuntimeError) as e:
        console.print(f"demo: failed: {e}", style="bold red", markup=False)
        raise typer.Exit(1) from e
    if failures:
        console.print(f"demo: failed: {'; '.join(failures)}", style="bold red", markup=False)
        raise typer.Exit(1)
    console.print(f"demo: passed in {time.monotonic() - began:.1f} s", style="bold green")


def _wrong(transport: str, tls: bool, credentials: str) -> str:
    # What a board would refuse, by its own rules; empty: it starts.
    if credentials == "chain":
        return "credentials chain is not shown here: it needs certificates of a CA, see `firstboot keys --help`"
    given = {"transport": transport, "tls": {"enabled": tls}, "credentials": credentials}
    return "; ".join(str(one) for one in problems(given) if one.field in given)


def _demo(stage: Stage, update: bool) -> list[str]:
    image = stage.image()
    way = stage.transport + (" with TLS" if stage.tls else "")
    console.print(f"An empty flash; {way}; credentials made as '{stage.credentials}'.\n", style="bold")
    first = _boot(stage, image)
    console.print("\nPower off, and on again with the same flash.\n", style="bold")
    second = _boot(stage, image)
    updates = _updates(stage, image) if update else []
    heap = None
    if (stage.transport, stage.tls, stage.credentials) == ("mqtt", False, "token"):
        heap = _heap()
    devices = len(stage.standin.devices())
    console.print()
    console.print(_table(stage, (first, second), devices, heap))
    return updates + _failures(first, second, devices, heap)


def _updates(stage: Stage, image: Image) -> list[str]:
    console.print("\nThe server is given a new app for the board.\n", style="bold")
    if not _update(stage, image, "2", NEW, "UPDATED"):
        return ["the new app was not kept"]
    console.print("\nAnd another one, which can't be imported.\n", style="bold")
    if not _update(stage, image, "3", BROKEN, "FAILED"):
        return ["the broken app was not left"]
    return []


def _update(stage: Stage, image: Image, version: str, app: bytes, end: str) -> bool:
    # Whether the update ends so, and the app that works sends a sample afterwards.
    standin = stage.standin
    device = standin.devices()[0].name
    package = standin.add_package("sw", "demo", version, archive({"app.py": app}))
    standin.assign(package, device=device)

    def done(_: Run) -> bool:
        told = [(key, value) for key, _, value in standin.telemetry(device) if key in ("sw_state", "version")]
        return ("sw_state", end) in told and told[-1] == ("version", 2)

    return stage.board(image, echo=_log).run(done, timeout=30).ended == "found"


def _boot(stage: Stage, image: Image) -> Boot:
    standin = stage.standin
    asked, seen = len(standin.provision_requests), _stored(stage)
    board = stage.board(image, echo=_log)
    held = measure.held(stage)

    def done(_: Run) -> bool:
        return _stored(stage) >= seen + SAMPLES

    run = board.run(done, timeout=30)
    moments = [at for at, line in run.lines if "telemetry: acknowledged" in line]
    heap = measure.steady_heap(run) - held if moments else 0
    stored = _stored(stage) - seen
    return Boot(run, len(standin.provision_requests) - asked, stored, moments[0] if moments else None, heap)


def _stored(stage: Stage) -> int:
    devices = stage.standin.devices()
    return sum(name == "count" for device in devices for name, _, _ in stage.standin.received(device.name))


def _heap() -> measure.Heap:
    # On a stage of its own: the boots of the measurement are not the demo's.
    with console.status("measuring") as status, Stage() as stage:
        return measure.heap(stage, lambda what: status.update(f"measuring the {what}"))


def _table(stage: Stage, boots: tuple[Boot, Boot], devices: int, heap: measure.Heap | None) -> Table:
    table = Table(title=f"Stand-in for ThingsBoard {stage.standin.core.release.name}, strategy {stage.strategy}")
    for title in ("", "first boot", "second boot"):
        table.add_column(title, justify="left" if not title else "right")

    def row(title: str, *cells: object) -> None:
        table.add_row(title, *map(str, cells))

    row("provisioning requests", *(boot.requests for boot in boots))
    row("samples acknowledged by the server", *(boot.acknowledged for boot in boots))
    row("time to first telemetry", *(f"{boot.first_telemetry or 0:.3f} s" for boot in boots))
    row("heap in use in the telemetry loop", *(f"{boot.heap:,} B" for boot in boots))
    if heap:
        row("smallest heap that the boot runs in", f"{heap.first_boot:,} B", f"{heap.second_boot:,} B")
    row("devices on the server", "", devices)
    return table


def _failures(first: Boot, second: Boot, devices: int, heap: measure.Heap | None) -> list[str]:
    checks = [
        (first.run.ended == "found", f"the first boot ended by {first.run.ended}"),
        (second.run.ended == "found", f"the second boot ended by {second.run.ended}"),
        (first.requests == 1, f"{first.requests} provisioning requests at the first boot"),
        (second.requests == 0, "the second boot asked again"),
        (devices == 1, f"{devices} devices on the server"),
    ]
    troubles = [text for passed, text in checks if not passed]
    if heap:
        troubles += over({"first_boot_min_heap_kib": heap.first_boot / 1024, "steady_heap_bytes": heap.steady})
    return troubles


def _log(line: str) -> None:
    moment = re.match(r" *[\d.]+ ", line)
    at = moment.end() if moment else 0
    console.print(Text.assemble(("board  ", "cyan"), (line[:at], "dim"), line[at:]))


def _say(event: Event) -> None:
    console.print(Text.assemble(("server ", "magenta"), f"{event.transport} {event.who}: {event.what}"))


if __name__ == "__main__":
    sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]
    os.environ.setdefault("COLUMNS", "110")
    typer.run(main)
