"""Find or fetch the MicroPython unix VM, and the libraries that the firmware needs from outside.

In order: `$MICROPYTHON`, a cached copy, Debian's i386 package. The i386 build is the one wanted: its objects have
the sizes that they have on ESP32 and RP2040. Nothing outside the cache folder is touched and no root is needed.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import shlex
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

OLDEST = (1, 23)

_PROBE = """
import sys
missing = []
for name in ("socket", "select", "tls", "vfs", "ffi"):
    try:
        __import__(name)
    except ImportError:
        missing.append(name)
import vfs
if not hasattr(vfs, "VfsLfs2"):
    missing.append("vfs.VfsLfs2")
import json
print(json.dumps({"name": sys.implementation.name, "version": sys.implementation.version[:3],
                  "bits": 32 if sys.maxsize < 1 << 32 else 64, "missing": missing}))
"""


class VmError(Exception):
    """No usable VM: the message says what to do."""


@dataclass(frozen=True)
class Vm:
    """A MicroPython unix VM: the command that starts it, its version and the size of its objects."""

    command: tuple[str, ...]
    version: tuple[int, int, int]
    bits: int

    def run(self, *args: str, timeout: float = 60, check: bool = True) -> str:
        """Run the VM with `args` and return what it prints."""
        done = subprocess.run(
            [*self.command, *args], capture_output=True, text=True, timeout=timeout, check=False
        )
        if check and done.returncode:
            raise VmError(f"the VM ended with {done.returncode}:\n{done.stdout}{done.stderr}")
        return done.stdout


def cache() -> Path:
    """The folder that keeps what was fetched: `$FIRSTBOOT_CACHE`, else the user's cache folder."""
    named = os.environ.get("FIRSTBOOT_CACHE")
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    path = Path(named) if named else Path(base) / "firstboot"
    path.mkdir(parents=True, exist_ok=True)
    return path


@contextlib.contextmanager
def locked(name: str) -> Iterator[None]:
    """One process at a time fetches `name`; the others wait and find it."""
    with open(cache() / f"{name}.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def probe(command: tuple[str, ...]) -> Vm:
    """Start the VM of `command` and see that it is one the virtual board can use. VmError says what it lacks."""
    shown = shlex.join(command)
    try:
        done = subprocess.run(
            [*command, "-c", _PROBE], capture_output=True, text=True, timeout=20, check=False
        )
        told = json.loads(done.stdout)
    except (OSError, subprocess.TimeoutExpired, ValueError) as e:
        raise VmError(f"{shown} does not run as a MicroPython VM ({e})") from e
    version = tuple(told["version"])
    if told["name"] != "micropython" or version < OLDEST:
        raise VmError(f"{shown} is {told['name']} {version}; firstboot needs MicroPython 1.23 or newer")
    if told["missing"]:
        raise VmError(f"{shown} was built without {', '.join(told['missing'])}; the virtual board needs that")
    return Vm(command, version, told["bits"])


def find() -> Vm:
    """The VM to use; fetched when there is none yet. VmError when that is not possible."""
    named = os.environ.get("MICROPYTHON")
    if named:
        return probe(tuple(shlex.split(named)))
    # Apart from the rest: only who has no VM yet needs apt.
    from . import debian

    with locked("vm"):
        root = cache() / "vm"
        if not debian.command(root):
            debian.fetch(root)
        return probe(debian.command(root))
