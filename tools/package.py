"""`python -m tools.package`: write package.json, the index by which `mpremote mip install` finds firstboot's files."""

from __future__ import annotations

import json
import re
import sys
from typing import Annotated, Any

import typer

from .build import FIRMWARE

INDEX = FIRMWARE.parent / "package.json"

# By name from micropython-lib's index; microCoAPy, which only transport "coap" needs, from its own repository.
DEPENDENCIES = [["umqtt.simple", "latest"], ["github:insighio/microCoAPy", "HEAD"]]


def version() -> str:
    """The package's version, the only place where it is written by hand."""
    found = re.search(r'^__version__ = "(.+)"$', (FIRMWARE / "firstboot/__init__.py").read_text(), re.MULTILINE)
    assert found
    return found[1]


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


def main(check: Annotated[bool, typer.Option(help="Write nothing; exit with 1 if the file is out of date.")] = False):
    """Write package.json from the files that there are."""
    if check:
        if not INDEX.exists() or INDEX.read_text() != current():
            print("package.json does not list the files that there are; run: python -m tools.package", file=sys.stderr)
            raise typer.Exit(1)
        return
    INDEX.write_text(current())


if __name__ == "__main__":
    typer.run(main)
