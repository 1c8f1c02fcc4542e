"""`firstboot ledger`: what was flashed onto which board, when, and what came of it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ..console import Json, fail, print_json, print_table
from .ledger import Ledger

app = typer.Typer()

LEDGER = Path("flash-ledger.sqlite")
LedgerFile = Annotated[Path, typer.Option("--ledger", help="SQLite file: what was flashed when, with what result.")]
COLOURS = {"provisioned": "green", "flashed": "green", "already done": "green", "interrupted": "yellow"}


@app.command()
def show_ledger(ledger: LedgerFile = LEDGER, as_json: Json = False) -> None:
    """Show the ledger: what was flashed onto which board, when, and what came of it.

    firstboot ledger
    firstboot ledger --json
    """
    if not ledger.exists():
        fail(f"there is no {ledger}", "`firstboot flash` makes it")
    book = Ledger(ledger, is_read_only=True)
    entries = book.entries()
    book.close()
    if as_json:
        print_json(entries)
        return
    from rich.markup import escape

    rows = []
    for entry in entries:
        result = entry["result"]
        shown = f"[{COLOURS.get(result, 'red')}]{result}[/]"
        at = f"at {entry['step']}: " if result not in COLOURS and entry["step"] else ""
        when = entry["at"][:19].replace("T", " ")
        detail = at + entry["detail"] if entry["detail"] else f"MicroPython {entry['micropython']}"
        rows.append((when, escape(entry["board"]), escape(entry["name"]), shown, escape(detail)))
    print_table(("when (UTC)", "board", "name", "result", ""), rows, whole=4)
