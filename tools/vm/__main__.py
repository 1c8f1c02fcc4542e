"""`python -m tools.vm`: fetch the VM if need be and say which one it is."""

from __future__ import annotations

import json
import shlex
import sys

import typer

from . import VmError, find


def main(as_json: bool = typer.Option(False, "--json", help="Print JSON.")) -> None:
    """Find or fetch the MicroPython unix VM, and print its command, version and object size."""
    try:
        vm = find()
    except VmError as e:
        print(f"tools.vm: {e}", file=sys.stderr)
        raise typer.Exit(1) from e
    version = ".".join(map(str, vm.version))
    if as_json:
        print(json.dumps({"command": vm.command, "version": version, "bits": vm.bits}))
    else:
        print(f"MicroPython {version}, {vm.bits}-bit objects: {shlex.join(vm.command)}")


typer.run(main)
