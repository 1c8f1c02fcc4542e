"""`python -m tools.package`: write what lists firstboot's files: package.json, by which `mpremote mip install` finds
them, and boards/frozen_names.py."""

from __future__ import annotations

import json
import sys
from typing import Annotated, Any

import typer

from .places import BOARDS, FIRMWARE, ROOT, version

INDEX = ROOT / "package.json"
NAMES = BOARDS / "frozen_names.py"

# By name from micropython-lib's index; microCoAPy, which only transport "coap" needs, from its own repository.
DEPENDENCIES = [["umqtt.simple", "latest"], ["github:insighio/microCoAPy", "HEAD"]]

_NAMES = """\
# The names of firstboot's modules, for the ROM of a MicroPython that it is frozen in. MIT licence, (c) 2026 the
# firstboot authors.
#
# An import by a name that no frozen code has makes that name on the heap, for ever: firstboot imports most of its
# modules through errand(), which puts their names together. Nothing imports this file, but its names are in ROM.
# Written by `python -m tools.package`.
# ruff: noqa: F401, F811


def never():
"""


def modules() -> list[str]:
    """The package's files, relative to firmware/, sorted."""
    return sorted(path.relative_to(FIRMWARE).as_posix() for path in (FIRMWARE / "firstboot").rglob("*.py"))


def index(places: dict[str, str], dependencies: list[list[str]]) -> dict[str, Any]:
    """A package.json for mip: `places` maps a path below the board's /lib to its URL, relative to the index."""
    return {"version": version(), "urls": [[place, places[place]] for place in places], "deps": dependencies}


def text(data: dict[str, Any]) -> str:
    """The index as it is written: a line for each file."""
    lines = [
        f'  "version": {json.dumps(data["version"])},',
        '  "urls": [',
        ",\n".join(f"    {json.dumps(url)}" for url in data["urls"]),
        "  ],",
        f'  "deps": {json.dumps(data["deps"])}',
    ]
    return "\n".join(["{", *lines, "}", ""])


def current() -> str:
    """What package.json must be for the tree as it is."""
    return text(index({module: f"firmware/{module}" for module in modules()}, DEPENDENCIES))


def names() -> str:
    """What boards/frozen_names.py must be for the tree as it is."""
    found = [module.removesuffix(".py").removesuffix("/__init__").replace("/", ".") for module in modules()]
    lines = [f"    import {name} as module\n" if "." in name else "" for name in found]
    return _NAMES + "".join(lines)


def main(check: Annotated[bool, typer.Option(help="Write nothing; exit with 1 if a file is out of date.")] = False):
    """Write package.json and boards/frozen_names.py from the files that there are."""
    for path, content in ((INDEX, current()), (NAMES, names())):
        if not check:
            path.write_text(content)
        elif not path.exists() or path.read_text() != content:
            print(f"{path.name} does not list the files that there are; run: python -m tools.package", file=sys.stderr)
            raise typer.Exit(1)


if __name__ == "__main__":
    typer.run(main)
