"""The firmware's own pure modules on this computer: what a board decides, the tools need not decide again."""

from __future__ import annotations

import functools
import importlib.util
import sys
from types import ModuleType

from .build import FIRMWARE


@functools.cache
def board_code(name: str) -> ModuleType:
    """The module `name` of firmware/firstboot, run on its own: "config", "candidate".

    Nothing that it imports or is called stays behind, so that host code meets no module of a board by accident.
    """
    spec = importlib.util.spec_from_file_location(f"board_code.{name}", FIRMWARE / "firstboot" / f"{name}.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    micropython = ModuleType("micropython")
    micropython.const = lambda value: value  # type: ignore[attr-defined]
    before = sys.modules.get("micropython")
    sys.modules["micropython"] = micropython
    try:
        spec.loader.exec_module(module)
    finally:
        del sys.modules["micropython"]
        if before is not None:
            sys.modules["micropython"] = before
    return module
