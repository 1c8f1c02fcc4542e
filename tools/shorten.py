"""Short names for release builds: what only firstboot calls by name is called by names that MicroPython has in ROM.

MicroPython keeps each name of each module that was ever imported on the heap, for ever: its letters, and seven bytes
in pools that double in size. A release's loop holds 0.9 KB less for that. Renamed are functions, classes, attributes
and globals that the package defines, wherever it uses them, one for one; and parameters, function by function. Not
renamed is what others call or define as well: names in ROM, in umqtt.simple and microCoAPy, keywords, and what is a
string of the firmware besides. Sources, development builds and frozen ones keep all names; `long_names()` gives them
back to a traceback.
"""

from __future__ import annotations

import ast
import functools
import re
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import typer

from .console import Json, fail, print_json
from .places import FIRMWARE, MICROCOAPY
from .vm import umqtt_simple

app = typer.Typer()

# What a board that speaks MQTT with a token never loads, by the beginning of its path below firmware/firstboot. The
# benchmark boots without these to prove it.
SLICES = (
    "x509",
    "ota",
    "clock",
    "inbox",
    "selftest",
    "link/tls",
    "link/http",
    "link/coap",
    "link/mqtt_subscribe",
)

# Called by the user's app, at the REPL, by `firstboot flash`, by a secure element's module, or by a library that is
# given an object of ours.
_PUBLIC = {
    *("run", "feed", "pause", "log", "errand", "forget", "watchdog"),
    *("request", "rotate", "read", "on_rpc", "on_attributes"),
    *("LinkError", "Denied"),
    *("setblocking", "settimeout", "sendto", "recvfrom", "recv"),
    *("mount", "umount", "stat", "open"),
}
# Names in the ROM of every port with MicroPython's "extra features", which ESP32, RP2 and unix are. Those of the first
# paragraph are one byte each in an .mpy file, too (MicroPython, py/makeqstrdata.py); those of the last are called so by
# us as well, and stay. A test asks the VM for all of them.
_ROM = (Path(__file__).parent / "rom_names.txt").read_text().split()
# Variables that hold an object of ours, whoever sets its attributes.
_OURS = ("self", "link", "loop", "wire")
_PARAMETERS = 24  # of _ROM: no function has more
# CPython 3.11 counts the depth of all threads' ast.parse() in one place, and raises SystemError when they meet.
_parsing = threading.Lock()


def _parse(source: str) -> ast.Module:
    with _parsing:
        return ast.parse(source)


@functools.cache
def names() -> dict[str, str]:
    """Name in the source -> name in a release, of what the package's modules define for each other."""
    counts: Counter[str] = Counter()
    taken = _modules() | _PUBLIC | set(_ROM) | _keywords()
    used: set[str] = set()
    libraries = {"mqtt_hello": [umqtt_simple()], "coap": sorted(MICROCOAPY.glob("*.py"))}
    for user, library in libraries.items():
        theirs = {name for path in library for name in identifiers(_parse(path.read_text()))}
        taken |= theirs & set(identifiers(_parse((FIRMWARE / f"firstboot/link/{user}.py").read_text())))
    always: Counter[str] = Counter()
    for path, tree in zip(_paths(), _trees(), strict=True):
        if is_core(path.relative_to(FIRMWARE / "firstboot").as_posix()):
            always.update(set(identifiers(tree)))
        counts.update(set(_defined(tree)))
        taken |= set(_foreign(tree))
        used |= set(identifiers(tree))
    # What most files know costs most, and first of all those that every board has; the order is the same everywhere.
    ours = sorted(name for name in counts if name not in taken and not name.startswith("__"))
    ours.sort(key=lambda name: (-always[name], -counts[name]))
    return dict(zip(ours, (name for name in _ROM[_PARAMETERS:] if name not in used), strict=False))


@functools.cache  # each virtual board that is made asks for all of them
def shorten(source: str) -> str:
    """The source of one of the package's modules, with the names of a release and without comments."""
    return ast.unparse(_Short().visit(_parse(source)))


def long_names(line: str) -> str:
    """A line of a release's traceback (`File "mend", in hex`) with the source's name in it."""
    found = re.search(r'File "(\w+)", (?:line \d+, )?in (\w+)$', line)
    if not found or found[1] not in _modules():
        return line
    back = {short: name for name, short in names().items()}
    return line[: found.start(2)] + back.get(found[2], found[2])


@app.command()
def trace(
    report: Annotated[Path | None, typer.Argument(help="A file; without it, what is typed or piped in.")] = None,
    as_json: Json = False,
) -> None:
    """Give a crash report the names that the source has. A release's modules know each other by other, shorter names.

    For the attribute `crash` in ThingsBoard; the monitor does so by itself. The names are those of the firmware beside
    this program: a report of another version wants that version's program.

    firstboot trace report.txt
    firstboot trace --json < report.txt
    """
    try:
        lines = report.open("rb") if report else sys.stdin.buffer
    except OSError as e:
        fail(f"{report} can't be read: {e.strerror}")
    # Line by line, as it may come from a terminal, and whatever a serial line has put in between.
    found = (long_names(line.decode(errors="replace").rstrip("\r\n")) for line in lines)
    if as_json:
        print_json({"lines": list(found)})
        return
    for line in found:
        typer.echo(line)


@functools.cache
def _modules() -> set[str]:
    return {"firstboot", *(path.stem for path in (FIRMWARE / "firstboot").rglob("*.py"))}


def is_core(place: str) -> bool:
    """Whether every board has this file ("mqtt.py" below firmware/firstboot), none of the slices'."""
    return not place.startswith(SLICES)


def _paths() -> list[Path]:
    return sorted((FIRMWARE / "firstboot").rglob("*.py"))


@functools.cache
def _trees() -> list[ast.Module]:
    return [_parse(path.read_text()) for path in _paths()]


@functools.cache
def _keywords() -> frozenset[str]:
    return frozenset(
        node.arg for tree in _trees() for node in ast.walk(tree) if isinstance(node, ast.keyword) and node.arg
    )


def _defined(tree: ast.Module) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            yield node.name
        elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store) and _name(node.value) in _OURS:
            yield node.attr
    for statement in tree.body:
        # _X = const(1) is folded by the compiler, and leaves no name.
        if isinstance(statement, ast.Assign) and not _is_const(statement.value):
            yield from filter(None, map(_name, statement.targets))


def _foreign(tree: ast.Module) -> Iterator[str]:
    # Others' names, and what is a string besides: that is on the heap anyway.
    for node in ast.walk(tree):
        if isinstance(node, ast.Import) or isinstance(node, ast.ImportFrom) and not node.level:
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and node not in _functions(tree):
            yield node.value


@functools.cache
def _functions(tree: ast.Module) -> frozenset[ast.expr | None]:
    """The strings that name a function."""
    return frozenset(_function(node) for node in ast.walk(tree) if isinstance(node, ast.Call))


def _function(call: ast.Call) -> ast.Constant | None:
    # The string in errand(module, function, ...); None in any other call.
    if _name(call.func) in ("errand", "_errand") and len(call.args) > 1 and isinstance(call.args[1], ast.Constant):
        return call.args[1]
    return None


def identifiers(tree: ast.AST) -> Iterator[str]:
    """Every name in `tree`, whatever it names; strings as well."""
    for node in ast.walk(tree):
        for _, value in ast.iter_fields(node):
            if isinstance(value, str):
                yield value


def _is_const(node: ast.expr) -> bool:
    return isinstance(node, ast.Call) and _name(node.func) == "const"


def _name(node: ast.expr) -> str | None:
    return node.id if isinstance(node, ast.Name) else None


class _Short(ast.NodeTransformer):
    def __init__(self) -> None:
        self.parameters: dict[str, str] = {}

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.AST:
        is_outermost = not self.parameters
        if is_outermost:
            self.parameters = _parameters(node)
        node.name = names().get(node.name, node.name)
        self.generic_visit(node)
        if is_outermost:
            self.parameters = {}
        return node

    def visit_ClassDef(self, node: ast.ClassDef) -> ast.AST:
        node.name = names().get(node.name, node.name)
        return self.generic_visit(node)

    def visit_arg(self, node: ast.arg) -> ast.AST:
        node.arg = self._local(node.arg)
        return node

    def visit_Name(self, node: ast.Name) -> ast.AST:
        node.id = self._local(node.id)
        return node

    def visit_Attribute(self, node: ast.Attribute) -> ast.AST:
        node.attr = names().get(node.attr, node.attr)
        return self.generic_visit(node)

    def visit_Global(self, node: ast.Global) -> ast.AST:
        node.names = [names().get(name, name) for name in node.names]
        return node

    def visit_ExceptHandler(self, node: ast.ExceptHandler) -> ast.AST:
        if node.name:
            node.name = self._local(node.name)
        return self.generic_visit(node)

    def visit_ImportFrom(self, node: ast.ImportFrom) -> ast.AST | None:
        if node.module == "micropython" and [alias.name for alias in node.names] == ["const"]:
            return None  # MicroPython's compiler folds const() by its name; CPython has it from there
        if node.level or (node.module or "").startswith("firstboot"):
            for alias in node.names:
                alias.name = names().get(alias.name, alias.name)
        return node

    def visit_Call(self, node: ast.Call) -> ast.AST:
        function = _function(node)
        if function and isinstance(function.value, str):
            function.value = names().get(function.value, function.value)
        return self.generic_visit(node)

    def _local(self, name: str) -> str:
        return self.parameters.get(name) or names().get(name, name)


def _parameters(function: ast.FunctionDef) -> dict[str, str]:
    """Name of each parameter in `function`, and in those inside it -> one that it does not use otherwise."""
    ours = [node.arg for node in ast.walk(function) if isinstance(node, ast.arg) and node.arg not in _keywords()]
    used = set(identifiers(function))
    free = (name for name in _ROM[:_PARAMETERS] if name not in used)
    return dict(zip(dict.fromkeys(ours), free, strict=False))
