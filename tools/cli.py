"""The command-line program `firstboot` (also `python -m tools.cli`): the table of its commands.

A command is a module with a typer.Typer called `app`; its docstrings are the help, with examples in paragraphs that
start with "firstboot". The module is imported only when it is the one to run, so that
`firstboot --help` needs none of their libraries. Exit codes, --json and errors: console.py.
"""

from __future__ import annotations

import errno
import inspect
from importlib import import_module
from typing import Annotated, Any

import typer
from typer.core import TyperCommand, TyperGroup

from . import places
from .console import Failed, show_failed, wants_json

# name: module in this package, panel of the help, what the help says. In the order in which they are needed.
COMMANDS: dict[str, tuple[str, str, str]] = {
    "config": (".config.command", "Before flashing", "Write, check and explain config.json."),
    "profile": (
        ".profile",
        "Before flashing",
        "Make and show device profiles, with their provision keys.",
    ),
    "bulk": (".bulk", "Before flashing", "Turn a list of MACs into ThingsBoard's bulk import, and check it."),
    "keys": (".keys.__main__", "Before flashing", "Make a CA, and issue the certificates of boards."),
    "ca": (".ca", "Before flashing", "Fetch the server's CA certificate, as the file that a board verifies it by."),
    "image": (".image.command", "Flashing", "Make one file with everything for a factory to flash, and look into one."),
    "flash": (".flash.command", "Flashing", "Flash boards, many at once, and follow each to its first telemetry."),
    "ledger": (".flash.history", "Flashing", "Show what was flashed onto which board, when, and what came of it."),
    "monitor": (".monitor", "Looking after boards", "Show what boards log, in colours and without secrets."),
    "update": (".update", "Looking after boards", "Send boards in the field a new app or firmware, and follow it."),
    "trace": (".shorten", "Looking after boards", "Give a crash report the names that the source has."),
    "doctor": (".doctor", "Looking after boards", "Tell what is missing here, which boards there are, what ails them."),
    "standin": (
        ".standin.__main__",
        "Without a board",
        "Run a server that behaves like ThingsBoard, on this computer.",
    ),
    "vboard": (
        ".vboard.__main__",
        "Without a board",
        "Put files on a virtual board's flash, list them, and power it up.",
    ),
}


class _Lazy(TyperGroup):
    """A group whose commands are known by name and imported on use."""

    def list_commands(self, ctx: Any) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        # For the help and for completion the table is enough.
        if cmd_name not in COMMANDS:
            return None
        _, panel, text = COMMANDS[cmd_name]
        return TyperCommand(cmd_name, help=text, rich_help_panel=panel)

    def resolve_command(self, ctx: Any, args: list[str]) -> tuple[str | None, Any, list[str]]:
        name, command, rest = super().resolve_command(ctx, args)
        if command is not None and name in COMMANDS:
            module = import_module(COMMANDS[name][0], __package__)
            command = typer.main.get_command(module.app)
            command.name = name
            _tidy(command)
        return name, command, rest

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except Failed as e:
            show_failed(e, ctx)
            raise typer.Exit(1) from e
        except typer.BadParameter as e:
            if not wants_json(ctx):
                raise
            show_failed(Failed(e.format_message()), ctx)
            raise typer.Exit(e.exit_code) from e
        except typer.Abort as e:
            if isinstance(e.__context__, KeyboardInterrupt):  # at a prompt
                raise typer.Exit(130) from e
            raise
        except OSError as e:
            if e.errno == errno.EPIPE:
                raise  # who read the output has gone, and needs no word
            show_failed(Failed(f"{e.filename or 'the output'}: {e.strerror or e}"), ctx)
            raise typer.Exit(1) from e
        except ModuleNotFoundError as e:
            if (e.name or "").partition(".")[0] == __package__:
                raise
            show_failed(
                Failed(f"the package {e.name} is missing", "pip install -e '.[dev]' brings all that it needs"), ctx
            )
            raise typer.Exit(1) from e


def _tidy(command: Any) -> None:
    # A docstring is wrapped for its file; a terminal has a width of its own. Examples keep their lines.
    paragraphs = inspect.cleandoc(command.help or "").split("\n\n")
    # Completion is the program's, not each command's.
    command.params = [p for p in command.params if p.name not in ("install_completion", "show_completion")]
    command.help = "\n\n".join(p if p.startswith("firstboot ") else p.replace("\n", " ") for p in paragraphs)
    for inner in getattr(command, "commands", {}).values():
        _tidy(inner)


app = typer.Typer(cls=_Lazy, no_args_is_help=True, pretty_exceptions_show_locals=False)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"firstboot {places.version()}")
        raise typer.Exit


@app.callback()
def firstboot(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version, and stop.")
    ] = False,
) -> None:
    """Boards that introduce themselves to ThingsBoard: configure, flash and follow one of them or a fleet.

    firstboot profile create boards --into config.json
    firstboot config write
    firstboot flash --all
    """


if __name__ == "__main__":
    app(prog_name="firstboot")
