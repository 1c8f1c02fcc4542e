"""`python -m tools.vm`: which VM do the virtual boards run on? Fetches it if need be."""

import json
import sys
from typing import Annotated

import typer

from . import VmError, find
from .libraries import umqtt_simple


def main(as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False) -> None:
    """Print the MicroPython VM's path, version and object size, and where umqtt.simple is."""
    try:
        vm, umqtt = find(), umqtt_simple()
    except VmError as error:
        print(f"vm: {error}", file=sys.stderr)
        raise typer.Exit(1) from None
    if as_json:
        facts = {"command": vm.command, "version": vm.release, "bits": vm.bits, "source": vm.source}
        print(json.dumps({**facts, "umqtt_simple": str(umqtt)}))
    else:
        print(f"path          {vm.path}")
        print(f"version       {vm.release} ({vm.source})")
        print(f"object size   {vm.bits // 8} bytes")
        print(f"umqtt.simple  {umqtt}")


if __name__ == "__main__":
    typer.run(main)
