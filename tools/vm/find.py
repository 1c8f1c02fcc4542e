"""Find the VM: $MICROPYTHON, else the cached copy, else Debian's package."""

import os
import shutil
from functools import lru_cache
from pathlib import Path

from . import debian
from .errors import VmError
from .folder import cache, once
from .probe import Vm, probe

_WAYS_OUT = """{reason}
There are two ways out:
  1. set MICROPYTHON to a MicroPython 1.23+ unix VM that was built with vfs.VfsLfs2, tls and ffi
     (best a 32-bit one: then heap figures are those of a board);
  2. run this on Debian 12 or newer (a container does), where it is fetched from the archive by itself."""


def find() -> Vm:
    """Return a VM that works, fetching it the first time; VmError names the ways out if there is none.

    Later calls, in this process or another, need no network.
    """
    return _find(os.environ.get("MICROPYTHON", ""))


@lru_cache
def _find(chosen: str) -> Vm:
    if chosen:
        path = shutil.which(chosen)
        if path is None:
            raise VmError(f"$MICROPYTHON: there is no program {chosen}")
        return probe((str(Path(path).absolute()),), "$MICROPYTHON")
    return _debian()


def _debian() -> Vm:
    suites = sorted(debian.SUITES, key=lambda suite: not (cache() / folder_name(suite)).is_dir())
    troubles = []
    for suite in suites:
        try:
            return _cached(suite)
        except VmError as error:
            troubles.append(f"Debian {suite}: {error}")
    reason = "No MicroPython VM could be fetched.\n" + "\n".join(troubles)
    raise VmError(_WAYS_OUT.format(reason=reason))


def _cached(suite: str) -> Vm:
    def make(target: Path) -> None:
        debian.fetch(target, suite)
        probe(debian.command(target), f"Debian {suite}")

    folder = once(folder_name(suite), make)
    return probe(debian.command(folder), f"Debian {suite}")


def folder_name(suite: str) -> str:
    """What the VM of a Debian suite is called in the cache."""
    return f"vm-debian-{suite}-i386"
