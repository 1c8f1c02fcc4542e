"""Heap figures of the firmware on the VM, less what the virtual board itself holds (C code on a real board)."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

from .stage import Stage
from .vboard import Run

_ROOMY = 256 * 1024
_LUCK = 3072  # bytes below the size found by halving that are tried one by one
_STEP = 256  # bytes, the fineness of a smallest heap
_MOST = 96 * 1024
_FAILED = re.compile(r"MemoryError|memory allocation failed|more than the memory holds|next try in")
_ACKNOWLEDGED = re.compile(r"telemetry: acknowledged; heap in use (\d+) bytes")
# Bytes of a port's pools for up to so many names; the virtual board has a larger one open, see device/names.py.
POOLS = {20: 176, 60: 480, 140: 1072, 300: 2224}
_TABLES = 40000 / 39040  # of a heap's size over what is left of it beside the collector's tables
_EMPTY = {"/main.py": b""}


@dataclass
class Heap:
    """Bytes: the smallest heaps that a first and a second boot reach telemetry in, and what the loop holds."""

    first_boot: int
    second_boot: int | None
    steady: int


def heap(stage: Stage, told: Callable[[str], None] = lambda _: None, *, second: bool = True) -> Heap:
    """Measure the firmware of this stage. `told`: hears what is being measured. `second`: also a second boot."""
    told("heap of the telemetry loop")
    base = held(stage)
    image = stage.image()
    run = stage.board(image, heap=_ROOMY).run(_ACKNOWLEDGED.pattern)
    steady = steady_heap(run) - base
    told("smallest heap of a first boot")
    size = round(base * _TABLES)
    first = smallest(lambda size: boots(stage, size)) - size
    if not second:
        return Heap(first, None, steady)
    told("smallest heap of a second boot")
    return Heap(first, smallest(lambda size: _reaches(stage.board(image, heap=size).run(_settled))) - size, steady)


def held(stage: Stage) -> int:
    """Bytes that the virtual board holds with an empty main.py, but for the pools that a port has for names."""
    return int(_idle(stage, _ROOMY).event("idle")[0]) - POOLS[stage.names]


def _idle(stage: Stage, size: int) -> Run:
    image = stage.image()
    image.put(_EMPTY)
    return stage.board(image, heap=size).run()


def boots(stage: Stage, size: int) -> bool:
    """Whether a first boot reaches its first acknowledged telemetry in a heap of `size` bytes."""
    return _reaches(stage.board(stage.image(), heap=size).run(_settled))


def steady_heap(run: Run) -> int:
    """Bytes in use in the telemetry loop after a collection, as the board says itself."""
    found = _ACKNOWLEDGED.search(run.log)
    if not found:
        raise RuntimeError(f"the board did not reach telemetry:\n{run.log}")
    return int(found[1])


def smallest(works: Callable[[int], bool], least: int = 4096, most: int = _MOST) -> int:
    """The smallest size, to 256 bytes, for which `works(size)`."""
    if not works(most):
        raise RuntimeError(f"does not even work with {most} bytes")
    while most - least > _STEP:
        size = (least + most) // 2 // 16 * 16
        if works(size):
            most = size
        else:
            least = size
    # How the heap happens to be fragmented decides too: a smaller one may do where a larger one did not.
    for size in range(most - _LUCK, most, _STEP):
        if works(size):
            return size
    return most


def _settled(run: Run) -> bool:
    # A board that lacks the memory to say so is reset again and again.
    return _reaches(run) or run.boots > 1 or _FAILED.search(run.log) is not None


def _reaches(run: Run) -> bool:
    return _ACKNOWLEDGED.search(run.log) is not None
