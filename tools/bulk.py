"""`firstboot bulk`: a list of MACs becomes ThingsBoard's bulk import of devices, as a file or at once."""

from __future__ import annotations

import csv
import io
import re
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any

import typer

from . import boards
from .board_code import board_code
from .console import Json, err, fail, out, print_json
from .private import write_private
from .thingsboard import SERVER, USER, Ca, Server, User, connected, pages

app = typer.Typer()

_NAME_MOST = 255  # characters that ThingsBoard takes in a name
_AT_ONCE = 200  # devices a request, so that none takes minutes
_SQLITE = b"SQLite format 3\0"
_DONE = ("flashed", "provisioned", "already done")  # results in the ledger
# ThingsBoard's web page knows the first three by these names; the fourth is to be chosen there.
_COLUMNS = {"name": "NAME", "type": "TYPE", "label": "LABEL", "access token": "ACCESS_TOKEN"}


_Cells = dict[str, str]  # column -> what a line has in it


@dataclass
class Row:
    """A device to be: its line in the list, and what goes into the columns."""

    line: int
    mac: str
    name: str
    type: str
    label: str
    token: str | None

    def cells(self) -> list[str]:
        """In the order of the columns."""
        return [self.name, self.type, self.label, *([self.token] if self.token else [])]


@dataclass
class Problem:
    """What is wrong with a line of the list."""

    line: int
    message: str


@app.command()
def bulk(
    file: Annotated[Path, typer.Argument(help="MACs, one a line; a CSV; or firstboot flash's ledger. - is stdin.")],
    profile: Annotated[str, typer.Option(help="The devices' profile.")] = "default",
    config: Annotated[Path, typer.Option(help="The fleet's config: names and derived tokens come from it.")] = Path(
        "config.json"
    ),
    board: Annotated[str, typer.Option(help="Kind of board, where the list has no column board.")] = "",
    label: Annotated[str, typer.Option(help="A label for all, where the list has no column label.")] = "",
    derived: Annotated[
        bool | None, typer.Option("--derived/--no-derived", help="Whether to give the tokens; else as in the config.")
    ] = None,
    output: Annotated[Path | None, typer.Option("--output", "-o", help="The CSV to write; else stdout.")] = None,
    upload: Annotated[bool, typer.Option("--upload", help="Import them at the server, now.")] = False,
    update: Annotated[bool, typer.Option("--update", help="With --upload: devices may be there already.")] = False,
    server: Server = SERVER,
    user: User = USER,
    ca: Ca = None,
    as_json: Json = False,
) -> None:
    """Turn a list of MACs into ThingsBoard's bulk import, and check it.

    A CSV's first line names its columns: mac or name, and if need be board, label, profile.

    Each device gets the name that its board will call itself by, and with derived credentials the token that the
    board will make. Nothing is written or sent when a line is wrong. Import the CSV in ThingsBoard under Devices, and
    choose "Access token" for the fourth column; or let --upload do it.

    firstboot bulk macs.txt --board ESP32_GENERIC --profile boards -o devices.csv
    firstboot bulk macs.csv --profile boards --upload --server https://tb.example.org
    firstboot bulk flash-ledger.sqlite --profile boards -o devices.csv
    """
    from .config import checked, read

    if update and not upload:
        raise typer.BadParameter("it goes with --upload", param_hint="--update")
    flat = checked(read(config), config)
    if derived is None:
        derived = flat["credentials"] == "derived"
    secret = flat["provision.fleet_secret"] if derived else None
    if derived and not secret:
        fail(
            f"{config} has no provision.fleet_secret", "derived tokens are made from it", field="provision.fleet_secret"
        )
    rows, problems = _rows(_lines(file), flat["provision.name"], board, profile, label, secret)
    problems = sorted([*problems, *_clashes(rows)], key=lambda problem: problem.line)
    if problems:
        fail(
            "\n".join([f"{file} is not good:", *(f"line {p.line}: {p.message}" for p in problems)]),
            errors=[asdict(problem) for problem in problems],
        )
    if not rows:
        fail(f"{file} holds no MAC")
    text = _csv(rows, derived)
    if output:
        _write(output, text)
    result: dict[str, Any] = {"devices": len(rows), "derived": derived}
    if upload:
        with connected(server, user, ca) as client:
            result.update(_upload(client, rows, derived, update))
        if result["errors"]:
            fail("\n".join([f"{len(result['errors'])} of {len(rows)} failed:", *result["errors"]]), **result)
    if as_json:
        shown = [{"line": r.line, "mac": r.mac, "name": r.name, "type": r.type, "label": r.label} for r in rows]
        print_json({**result, "path": str(output) if output else None, "rows": shown})
    elif upload:
        out().print(f"{result['created']} devices created, {result['updated']} were there")
    elif output:
        out().print(f"[bold]{output}[/]: {len(rows)} devices for ThingsBoard's bulk import, separated by commas")
    else:
        typer.echo(text, nl=False)
    if upload and result["errors"]:
        fail("\n".join(["ThingsBoard did not take:", *result["errors"]]))
    if derived and not upload:
        err().print('[dim]in ThingsBoard, choose "Access token" for the fourth column, or it becomes an attribute[/]')


def _lines(file: Path) -> Iterator[tuple[int, _Cells | str]]:
    # (number, columns) of every line that says something; in their place what is wrong with it.
    if file.is_file() and file.read_bytes()[:16] == _SQLITE:
        yield from _ledger(file)
        return
    try:
        text = sys.stdin.read() if str(file) == "-" else file.read_text("utf-8-sig")
    except (OSError, UnicodeDecodeError) as e:
        fail(f"{file} can't be read: {getattr(e, 'strerror', None) or 'it is not text'}")
    columns: list[str] | None = None
    for number, line in enumerate(text.splitlines(), 1):
        line = line.partition("#")[0].strip()
        if not line:
            continue
        delimiter = ";" if ";" in line and "," not in line else ","
        try:
            (cells,) = csv.reader([line], delimiter=delimiter, strict=True)
        except csv.Error as e:
            yield number, f"is no line of a CSV: {e}"
            continue
        cells = [cell.strip() for cell in cells]
        if columns is None:
            lower = [cell.lower() for cell in cells]
            is_header = "mac" in lower or "name" in lower
            columns = lower if is_header else ["mac", "label"]
            if is_header:
                continue
        if any(cells[len(columns) :]):
            yield number, f"has {len(cells)} cells, and the columns are {', '.join(columns)}"
            continue
        yield number, dict(zip(columns, cells, strict=False))


def _ledger(file: Path) -> Iterator[tuple[int, _Cells | str]]:
    # What `firstboot flash` keeps: the boards that were done, by the names that they call themselves.
    from .flash.ledger import Ledger

    ledger = Ledger(file, is_read_only=True)
    names = {entry["name"] for entry in ledger.entries() if entry["name"] and entry["result"] in _DONE}
    ledger.close()
    for number, name in enumerate(sorted(names), 1):
        yield number, {"name": name}


def _rows(
    lines: Iterator[tuple[int, _Cells | str]],
    template: str,
    board: str,
    profile: str,
    label: str,
    secret: str | None,
) -> tuple[list[Row], list[Problem]]:
    rows, problems = [], []
    for number, cells in lines:
        if isinstance(cells, str):
            problems.append(Problem(number, cells))
            continue
        try:
            mac = parse_mac(cells.get("mac", "")) if cells.get("mac") or not cells.get("name") else ""
            name = cells.get("name") or device_name(template, mac, cells.get("board") or board)
            if len(name) > _NAME_MOST:
                raise ValueError(f"the name is {len(name)} characters long, and ThingsBoard takes {_NAME_MOST}")
        except ValueError as e:
            problems.append(Problem(number, str(e)))
            continue
        token = board_code("candidate").derive(secret, name) if secret else None
        rows.append(Row(number, mac, name, cells.get("profile") or profile, cells.get("label") or label, token))
    return rows, problems


def parse_mac(text: str) -> str:
    """The MAC as 12 lower-case hex digits, from any usual way of writing it; ValueError says what is wrong."""
    mac = re.sub(r"[\s:.-]", "", text).lower()
    if not re.fullmatch(r"[0-9a-f]{12}", mac):
        raise ValueError(f"{text!r} is not a MAC: 12 hex digits, as in a0:b1:c2:d3:e4:f5")
    if int(mac[:2], 16) & 1:
        raise ValueError(f"{text!r} is a group address, and no board's own")
    if mac == "0" * 12:
        raise ValueError(f"{text!r} is no board's own")
    return mac


def device_name(template: str, mac: str, board: str) -> str:
    """What the board with this MAC will call itself (board.py has the rule); ValueError."""
    chip = ""
    if board:
        kind = boards.load(board)
        chip = kind.chip.upper()
    if "{board}" in template and not chip:
        raise ValueError("provision.name holds {board}: tell the kind with --board, or in a column board")
    if "{uid}" in template and not chip.startswith("ESP32"):
        raise ValueError("provision.name holds {uid}, which only an ESP32's MAC tells: use --board, or {mac}")
    return template.replace("{board}", chip).replace("{mac}", mac).replace("{uid}", mac)


def _clashes(rows: list[Row]) -> list[Problem]:
    problems = []
    macs: dict[str, int] = {}
    names: dict[str, int] = {}
    for row in rows:
        if row.mac and row.mac in macs:
            problems.append(Problem(row.line, f"{row.mac} is in line {macs[row.mac]} already"))
        elif row.name in names:
            problems.append(
                Problem(
                    row.line,
                    f"the name {row.name} is line {names[row.name]}'s already: put {{mac}} into provision.name",
                )
            )
        macs.setdefault(row.mac, row.line)
        names.setdefault(row.name, row.line)
        if len(row.label) > _NAME_MOST:
            problems.append(Problem(row.line, f"the label is longer than {_NAME_MOST} characters"))
    return problems


def _csv(rows: list[Row], derived: bool) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(list(_COLUMNS)[: 4 if derived else 3])
    writer.writerows(row.cells() for row in rows)
    return text.getvalue()


def _write(path: Path, text: str) -> None:
    try:
        write_private(path, text.encode())  # it may hold tokens
    except OSError as e:
        fail(f"{path} can't be written: {e.strerror}")


def _upload(client: Any, rows: list[Row], derived: bool, update: bool) -> dict[str, Any]:
    # ThingsBoard makes an unknown profile, one without provisioning, and gives a device that exists the new token,
    # which its board does not have: neither is what anybody wants without saying so.
    wanted = {row.type for row in rows}
    missing = wanted - {found.name for found in pages(client.get_device_profiles)}
    if missing:
        fail(f"there is no device profile {', '.join(sorted(missing))}", "`firstboot profile create` makes one")
    if not update:
        names = {row.name for row in rows}
        there = sorted(names & {found.name for found in pages(client.get_tenant_devices)})
        if there:
            more = f" and {len(there) - 5} more" if len(there) > 5 else ""
            fail(f"there are devices already: {', '.join(there[:5])}{more}", "--update changes them", devices=there)
    result: dict[str, Any] = {"created": 0, "updated": 0, "errors": []}
    columns = [{"type": kind} for kind in list(_COLUMNS.values())[: 4 if derived else 3]]
    from rich.progress import track

    starts = range(0, len(rows), _AT_ONCE)
    for start in track(starts, "importing", console=err(), disable=len(starts) == 1):
        part = rows[start : start + _AT_ONCE]
        mapping = {"columns": columns, "delimiter": ",", "header": True, "update": update}
        answer = client.process_devices_bulk_import({"file": _csv(part, derived), "mapping": mapping})
        result["created"] += answer.created or 0
        result["updated"] += answer.updated or 0
        result["errors"] += [_told(text, part) for text in answer.errors_list or []]
    return result


def _told(text: str, rows: list[Row]) -> str:
    # ThingsBoard counts the lines of what it was sent, the first of which is the header.
    match = re.match(r"Line (\d+): (.*)", text, re.S)
    if not match or not 2 <= int(match[1]) < len(rows) + 2:
        return text
    row = rows[int(match[1]) - 2]
    return f"line {row.line}, {row.name}: {match[2]}"
