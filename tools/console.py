"""What every command shares: --json, errors that say what to do, and the exit codes 0 done, 1 failed, 2 misused.

With --json a command prints one JSON document on stdout (monitor and standin one a line), `{"error": {"message", ...}}`
when it failed; what is for a person's eyes only (progress, warnings) goes to stderr.
"""

from __future__ import annotations

import contextlib
import json
import sys
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer

if TYPE_CHECKING:
    from rich.console import Console

_JSON = "firstboot.json"  # in a context's meta: how json.dumps() indents where --json was given; None: in one line


class Failed(Exception):
    """A command can't do what was asked: what is wrong, and what to do about it.

    `hint`: what to do. `details`: more members of the error for --json ("field", "line"). A message of several lines
    has the second and further ones as a list.
    """

    def __init__(self, message: str, hint: str = "", **details: Any) -> None:
        super().__init__(message)
        self.hint = hint
        self.details = details


def fail(message: str, hint: str = "", **details: Any) -> NoReturn:
    """End the command with exit code 1; arguments as Failed."""
    raise Failed(message, hint, **details)


def _remember(ctx: typer.Context, is_json: bool) -> bool:
    if is_json:
        ctx.meta[_JSON] = 2
    return is_json


def _remember_lines(ctx: typer.Context, is_json: bool) -> bool:
    if is_json:
        ctx.meta[_JSON] = None
    return is_json


# The option of every command whose result a script may want: `as_json: Json = False`. Eager: what is wrong with another
# option is told in JSON, too.
Json = Annotated[
    bool, typer.Option("--json", callback=_remember, is_eager=True, help="Print one JSON document, for scripts.")
]
# The same of one that goes on and on, its error included.
JsonLines = Annotated[
    bool,
    typer.Option("--json", callback=_remember_lines, is_eager=True, help="Print a JSON document a line, for scripts."),
]


def out() -> Console:
    """Where results for a person go: stdout. Without emoji, or a MAC with :cd: in it would show a disc."""
    from rich.console import Console

    return Console(highlight=False, soft_wrap=True, emoji=False)


def err() -> Console:
    """Where progress, warnings and errors go: stderr."""
    from rich.console import Console

    return Console(stderr=True, highlight=False, soft_wrap=True, emoji=False)


def print_json(document: Any) -> None:
    """The command's result for a script."""
    typer.echo(json.dumps(document, indent=2, ensure_ascii=False))


def print_table(titles: Sequence[str], rows: Iterable[Sequence[str]], whole: int = 0) -> None:
    """The command's result for a person, in columns; cells are markup.

    Of the first `whole` columns no cell is broken; the others are folded to the terminal's width.
    """
    from rich.table import Table

    table = Table(box=None, pad_edge=False)
    for number, title in enumerate(titles):
        table.add_column(title, no_wrap=number < whole, overflow="ellipsis" if number < whole else "fold")
    for row in rows:
        table.add_row(*row)
    console = out()
    console.width = max(console.width, 80)  # a narrower terminal wraps the lines; here they would lose their ends
    console.print(table, soft_wrap=False)


def is_terminal() -> bool:
    """Whether somebody is there to be asked."""
    return sys.stdin.isatty()


def ask_secret(what: str, instead: str, **more: Any) -> str:
    """What is typed at the terminal, unseen; Failed where there is none, with what to do `instead`."""
    if not is_terminal():
        fail(f"there is no terminal to ask for the {what} at", instead)
    return str(typer.prompt(what[0].upper() + what[1:], hide_input=True, err=True, **more))


def wants_json(ctx: typer.Context) -> bool:
    """Whether the command in `ctx` was given --json."""
    return _JSON in ctx.meta


def show_failed(error: Failed, ctx: typer.Context) -> None:
    """Tell the error of the command in `ctx` to whoever started it."""
    if wants_json(ctx):
        details = {"message": str(error), **({"hint": error.hint} if error.hint else {}), **error.details}
        with contextlib.suppress(OSError):  # where stdout is what failed, stderr has to do
            typer.echo(json.dumps({"error": details}, indent=ctx.meta[_JSON], ensure_ascii=False))
            return
    from rich.markup import escape

    console = err()
    console.print(f"[bold red]error:[/] {escape(str(error))}".replace("\n", "\n  - "))
    if error.hint:
        console.print(f"  [dim]->[/] {escape(error.hint)}")
