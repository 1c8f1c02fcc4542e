"""Where things are in the tree, its version, and the oldest MicroPython for it. Nothing here needs a library."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
FIRMWARE = ROOT / "firmware"
BOARDS = ROOT / "boards"
# A stand-in with microCoAPy's face: real boards get their own by mip.
MICROCOAPY = ROOT / "tools/vboard/lib/microcoapy"
OLDEST_MICROPYTHON = (1, 23, 0)


def version() -> str:
    """The package's version, from the only place where it is written by hand."""
    found = re.search(r'^__version__ = "(.+)"$', (FIRMWARE / "firstboot/__init__.py").read_text(), re.MULTILINE)
    assert found
    return found[1]
