"""`firstboot config`: write, check and explain config.json."""

from __future__ import annotations

import copy
import inspect
import secrets
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from ..console import Json, err, out, print_json, print_table
from . import FIELDS, Advice, Field, advice, checked, get, plan, problems, put, read, reference
from . import write as write_file

app = typer.Typer(no_args_is_help=True, help="Write, check and explain config.json, which tells a board what to do.")

File = Annotated[Path, typer.Argument(help="The config.")]
DEFAULT = Path("config.json")

# What `write` asks for when it isn't told; the rest has good defaults, or flags.
QUESTIONS = (
    "wifi.ssid",
    "wifi.password",
    "server.host",
    "transport",
    "tls.enabled",
    "credentials",
    "provision.fleet_secret",
    "provision.key",
    "provision.secret",
    "provision.name",
    "period",
)


def _write(**given: Any) -> None:
    """Write config.json: change the fields given, keep the others.

    Without any field it asks for the ones that matter; secrets are not echoed, and can also come from the
    environment. The file is readable by you only, and written only if a board would take it.

    firstboot config write
    firstboot config write --wifi-ssid lab --server-host tb.example.org --tls-enabled
    firstboot config write pilot.json --unset server.port
    """
    path, as_json, unset = given.pop("file"), given.pop("as_json"), given.pop("unset")
    changes = {name: value for name in FIELDS if (value := given[_parameter(name)]) is not None}
    document = read(path, mends=True) if path.exists() else {}
    if not isinstance(document, dict):
        checked(document, path)
    for name in unset:
        if name not in FIELDS:
            raise typer.BadParameter(f"{name} is not a field; see `firstboot config fields`", param_hint="--unset")
        if name in changes:
            raise typer.BadParameter(f"{name} can't be set and taken out at once", param_hint="--unset")
        put(document, name, None)
    if not changes and not unset:
        if as_json or not sys.stdin.isatty():
            raise typer.BadParameter("there is nobody to ask: give the fields as options", param_hint="--wifi-ssid ...")
        changes = _ask(document)
        _settle(document, changes)
    for name, value in changes.items():
        put(document, name, int(value) if isinstance(value, float) and value.is_integer() else value)
    config = checked(document, path)
    write_file(document, path)
    warned = advice(config, path.parent)
    if as_json:
        print_json({"path": str(path), "changed": sorted([*changes, *unset]), "warnings": _as_json(warned)})
        return
    _show_warnings(warned)
    out().print(f"wrote [bold]{path}[/]: it holds secrets, and is readable by you only")


@app.command()
def check(file: File = DEFAULT, as_json: Json = False) -> None:
    """Tell what a board would do with config.json, by the firmware's own rules.

    Exit code 1 when a board would refuse it. Secrets are not shown.

    firstboot config check
    firstboot config check pilot.json --json
    """
    config = checked(read(file), file)
    warned = advice(config, file.parent)
    if as_json:
        shown = {name: _masked(FIELDS[name], value) for name, value in config.items()}
        print_json({"path": str(file), "config": shown, "plan": plan(config), "warnings": _as_json(warned)})
        return
    from rich.markup import escape

    console = out()
    console.print(f"[bold green]ok[/] {escape(str(file))}: a board with it")
    for line in plan(config):
        console.print(f"  - {escape(line)}")
    _show_warnings(warned)


@app.command()
def fields(
    as_json: Json = False,
    markdown: Annotated[bool, typer.Option("--markdown", help="Print the table of the README.")] = False,
) -> None:
    """List every field of config.json: its default, its values, what it is for.

    firstboot config fields
    firstboot config fields --json
    """
    if markdown:
        typer.echo(reference(), nl=False)
        return
    if as_json:
        print_json(
            [
                {
                    "name": field.name,
                    "default": None if field.default is ... else field.default,
                    "required": field.default is ...,
                    "values": field.choices or field.values,
                    "secret": field.is_secret,
                    "help": field.help,
                }
                for field in FIELDS.values()
            ]
        )
        return
    from rich.markup import escape

    rows = [(f"[bold]{one.name}[/]", *map(escape, (one.usual, one.values, one.help))) for one in FIELDS.values()]
    print_table(("field", "default", "values", ""), rows, whole=1)


def _ask(document: dict[str, Any]) -> dict[str, Any]:
    answers: dict[str, Any] = {}
    for name in QUESTIONS:
        if name == "provision.fleet_secret" and answers.get("credentials") != "derived":
            continue
        if name in ("provision.key", "provision.secret") and answers.get("credentials") == "chain":
            continue
        answers[name] = _ask_one(FIELDS[name], get(document, name), answers)
    return {name: value for name, value in answers.items() if value is not None}


def _settle(document: dict[str, Any], answers: dict[str, Any]) -> None:
    # What no answer could say alone: ask again for the field that the board would name.
    while True:
        whole = copy.deepcopy(document)
        for name, value in answers.items():
            put(whole, name, value)
        wrong = [problem for problem in problems(whole) if problem.field in FIELDS]
        if not wrong:
            return
        err().print(f"[red]{wrong[0]}[/]")
        answers[wrong[0].field] = _ask_one(FIELDS[wrong[0].field], get(whole, wrong[0].field), {})


def _ask_one(field: Field, now: Any, answers: dict[str, Any]) -> Any:
    # `answers` to earlier questions: what the field is checked together with.
    from rich.markup import escape

    console = err()
    console.print(f"[bold]{field.name}[/]  [dim]{escape(field.help)}[/]")
    while True:
        value = _answer(field, now)
        if value is None and field.default is not ...:
            return None
        document: dict[str, Any] = {}
        for name, answer in {**answers, field.name: value}.items():
            put(document, name, answer)
        wrong = [problem for problem in problems(document) if problem.field == field.name]
        if not wrong:
            return value
        console.print(f"  [red]{escape(str(wrong[0]))}[/]")


def _answer(field: Field, now: Any) -> Any:
    default = now if now is not None else field.default
    if field.kind == "bool":
        return typer.confirm("  yes?", default=bool(default), err=True, prompt_suffix=" > ")
    if field.is_secret:
        hint = "  not shown; empty keeps it" if now is not None else "  not shown"
        said = typer.prompt(hint, default="", hide_input=True, show_default=False, err=True, prompt_suffix=" > ")
        if not said and now is None and field.name == "provision.fleet_secret":
            err().print("  [dim]made one at random; keep this file, the tokens come from it[/]")
            return secrets.token_urlsafe(24)
        return said or now
    default = None if default is ... else default
    hint = f"  {'|'.join(field.choices)}" if field.choices else "  text" if field.kind in "sc" else "  number"
    said = typer.prompt(hint, default=default or "", show_default=bool(default), err=True, prompt_suffix=" > ")
    return _typed(field, said)


def _typed(field: Field, said: Any) -> Any:
    if said == "":
        return None
    if field.kind in ("i", "n") and isinstance(said, str):
        for kind in (int, float):
            try:
                return kind(said)
            except ValueError:
                continue
    return said


def _masked(field: Field, value: Any) -> Any:
    return "***" if field.is_secret and value else value


def _as_json(found: list[Advice]) -> list[dict[str, str]]:
    return [{"field": one.field, "message": one.message, "hint": one.hint} for one in found]


def _show_warnings(found: list[Advice]) -> None:
    from rich.markup import escape

    console = err()
    for one in found:
        console.print(f"[bold yellow]warning:[/] [bold]{one.field}[/] {escape(one.message)}")
        if one.hint:
            console.print(f"  [dim]->[/] {escape(one.hint)}")


def _parameter(name: str) -> str:
    return name.replace(".", "_")


def _options() -> list[inspect.Parameter]:
    # One option a field, so that --help lists what the firmware knows and nothing else.
    def parameter(name: str, kind: Any, default: Any, info: Any) -> inspect.Parameter:
        annotation = Annotated[kind, info] if info else kind
        return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=annotation)

    options = [parameter("file", Path, DEFAULT, typer.Argument(help="The config; made when there is none."))]
    for field in FIELDS.values():
        flag = "--" + field.name.replace(".", "-").replace("_", "-")
        section = field.name.partition(".")[0] if "." in field.name else "the board itself"
        info = typer.Option(
            f"{flag}/--no{flag[1:]}" if field.kind == "bool" else flag,
            help=field.help + (f" One of {', '.join(field.choices)}." if field.choices else ""),
            rich_help_panel=section,
            envvar=f"FIRSTBOOT_{_parameter(field.name).upper()}" if field.is_secret else None,
            show_default=False,
        )
        kind = {"bool": bool, "i": int, "n": float}.get(field.kind, str)
        options.append(parameter(_parameter(field.name), kind | None, None, info))
    unset = typer.Option(metavar="FIELD", help="Take a field out, so that its default holds.")
    options.append(parameter("unset", list[str], [], unset))
    options.append(parameter("as_json", Json, False, None))
    return options


_write.__signature__ = inspect.Signature(_options())  # type: ignore[attr-defined]
_write.__annotations__ = {p.name: p.annotation for p in _options()}
app.command("write")(_write)
