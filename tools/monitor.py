"""`firstboot monitor`: what boards log, in colours, without secrets, across resets and pulled cables."""

from __future__ import annotations

import json
import queue
import re
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import typer

from .config import read
from .console import JsonLines, err, fail, out
from .flash.mask import Mask
from .flash.ports import Port, choose
from .flash.talk import BoardFailed, Stopped, Talk
from .shorten import long_names

app = typer.Typer()

_GOOD = re.compile(r"acknowledged|verified|accepts|joined|SUCCESS|clock: set")
_BAD = re.compile(
    r"can't|crashed|refuse|lost|failed|revoked|no answer|NOT_FOUND|FAILURE|does not|NOT VERIFIED|dropped|waiting for"
    r"|Traceback|Error\b"
)
_TIME = re.compile(r"^ *\d+\.\d{3} ")
_TAG = re.compile(r"^[a-z][\w./-]*:")
_LABELS = ("cyan", "magenta", "blue", "yellow", "green")


@app.command()
def monitor(
    every: Annotated[bool, typer.Option("--all", help="All attached boards.")] = False,
    serial: Annotated[list[str] | None, typer.Option(help="A board by its USB serial number; again for more.")] = None,
    port: Annotated[list[str] | None, typer.Option(help="A board by its port; again for more.")] = None,
    config: Annotated[
        Path | None, typer.Option(help="The boards' config: its secrets are never shown. By default config.json.")
    ] = None,
    restart: Annotated[
        bool, typer.Option("--restart", help="Start the board's program anew, by a soft reset.")
    ] = False,
    until: Annotated[str, typer.Option(help="End when a line of each board matches this expression.")] = "",
    seconds: Annotated[float, typer.Option(help="End after so many seconds; 0: at Ctrl-C.", min=0)] = 0,
    as_json: JsonLines = False,
) -> None:
    """Show what boards log; a board that is reset or plugged out is waited for.

    Secrets of the config, and all that looks like a token or a key, are shown as ***. Exit code 1 when --until was
    not seen within --seconds.

    firstboot monitor
    firstboot monitor --all --until "telemetry: acknowledged" --seconds 60
    """
    try:
        wanted = re.compile(until) if until else None
    except re.error as e:
        hint = "it wants a regular expression, such as 'telemetry: acknowledged'"
        raise typer.BadParameter(f"{e}: {hint}", param_hint="--until") from e
    default = Path("config.json")
    mask = Mask(read(config) if config else read(default) if default.exists() else None)
    ports = choose(port or [], serial or [], every)
    show = _Json() if as_json else _Colours(ports)
    missing = {port.name for port in ports} if wanted else set()
    try:
        for name, line, is_note in _lines(ports, restart, seconds):
            text = line if is_note else mask(long_names(line))
            show.line(name, text, is_note)
            if wanted and not is_note and wanted.search(text):
                missing.discard(name)
                if not missing:
                    return
    except KeyboardInterrupt:
        return
    if missing:
        fail(f"not seen within {seconds:g} s from {', '.join(sorted(missing))}: {until}")


def _lines(ports: list[Port], restart: bool, seconds: float) -> Iterator[tuple[str, str, bool]]:
    """(board, line, whether it is this program's own note) as they come, from a thread a port."""
    lines: queue.Queue[tuple[str, str, bool]] = queue.Queue(1000)
    stop = threading.Event()
    threads = [threading.Thread(target=_watch, args=(port, restart, lines, stop), daemon=True) for port in ports]
    for thread in threads:
        thread.start()
    end = time.monotonic() + seconds
    try:
        while not seconds or time.monotonic() < end:
            try:
                yield lines.get(timeout=0.1)
            except queue.Empty:
                if not any(thread.is_alive() for thread in threads):
                    return
    finally:
        stop.set()


def _watch(port: Port, restart: bool, lines: Any, stop: threading.Event) -> None:
    def put(text: str, is_note: bool = False) -> None:
        while not stop.is_set():
            try:
                lines.put((port.name, text, is_note), timeout=0.2)
                return
            except queue.Full:
                continue

    told = ""
    while not stop.is_set():
        try:
            with Talk(port.device, stop=stop).open() as talk:
                if told:
                    put("connected again", True)
                    told = ""
                if restart:
                    talk.restart()
                    restart = False
                while True:
                    for line in talk.lines(3600):
                        text = "".join(c for c in line if c.isprintable() or c == "\t").rstrip()
                        if text:
                            put(text)
        except Stopped:
            return
        except BoardFailed as e:
            if str(e) != told:
                put(f"{e}; waiting for it" + (f" ({e.hint})" if e.hint else ""), True)
                told = str(e)
            stop.wait(0.1)


class _Json:
    def line(self, name: str, text: str, is_note: bool) -> None:
        key = "note" if is_note else "line"
        typer.echo(json.dumps({"at": round(time.time(), 3), "board": name, key: text}, ensure_ascii=False))


class _Colours:
    def __init__(self, ports: list[Port]) -> None:
        width = max(len(port.name) for port in ports)
        self.labels = {
            port.name: (port.name.ljust(width) + "  ", _LABELS[n % len(_LABELS)]) for n, port in enumerate(ports)
        }
        self.many = len(ports) > 1
        self.out, self.err = out(), err()

    def line(self, name: str, text: str, is_note: bool) -> None:
        from rich.text import Text

        label = [self.labels[name]] if self.many else []
        if is_note:
            self.err.print(Text.assemble(*label, (f"-- {text}", "yellow")))
        else:
            self.out.print(Text.assemble(*label, *coloured(text)))


def coloured(line: str) -> list[tuple[str, str]]:
    """A line of the log in parts, each with its style."""
    moment = _TIME.match(line)
    at = moment.end() if moment else 0
    rest = line[at:]
    style = "red" if _BAD.search(rest) else "green" if _GOOD.search(rest) else ""
    tag = _TAG.match(rest)
    cut = tag.end() if tag else 0
    return [(line[:at], "dim"), (rest[:cut], f"bold {style or 'cyan'}"), (rest[cut:], style)]
