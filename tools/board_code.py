"""The firmware's own pure modules on this computer: what a board decides, the tools need not decide again."""

from __future__ import annotations

import functools
import importlib
import sys
import time
from types import ModuleType
from typing import Any

from .places import FIRMWARE


@functools.cache
def board_code(name: str) -> ModuleType:
    """The module firstboot.`name` of the firmware: "config", "candidate"; its functions that need no board work.

    Nothing of it stays where `import` looks, so that host code meets no module of a board by accident.
    """
    before = {module: sys.modules.pop(module) for module in _of_a_board()}
    micropython = ModuleType("micropython")
    micropython.const = lambda value: value  # type: ignore[attr-defined]
    clock = ModuleType("time")  # with what only MicroPython's has
    vars(clock).update(vars(time), ticks_ms=lambda: int(time.monotonic() * 1000))
    sys.modules.update(micropython=micropython, time=clock)
    sys.path.insert(0, str(FIRMWARE))
    try:
        loaded = importlib.import_module(f"firstboot.{name}")
        if hasattr(loaded, "errand"):
            loaded.errand = _errand  # type: ignore[attr-defined]
        return loaded
    finally:
        sys.path.remove(str(FIRMWARE))
        sys.modules["time"] = time
        for module in _of_a_board():
            del sys.modules[module]
        sys.modules.update(before)


def _errand(module: str, function: str, *args: Any) -> Any:
    return getattr(board_code(module), function)(*args)


def _of_a_board() -> list[str]:
    return [module for module in sys.modules if module.partition(".")[0] in ("micropython", "firstboot")]
