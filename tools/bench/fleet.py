"""First boots a second on this machine: firmware on VMs, and one paho-mqtt process a device."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from ..stage import KEY, SECRET, Stage
from ..vboard import Image, Run
from ..vm import Vm

_PAHO = Path(__file__).parent / "paho_device.py"
_SECONDS = 120
_KIND = "RPI_PICO_W"


def _workers() -> int:
    # So many at once that nobody's waits count, a board's for its network the longest of them.
    return 4 * (os.cpu_count() or 1)


def firmware_boots(boards: int, frozen: Vm | None = None) -> float:
    """Whole first boots of real firmware a second, each on a VM and a flash of its own, which is flashed before.

    `frozen`: a MicroPython with firstboot frozen in.
    """
    with Stage(frozen=frozen is not None, vm=frozen) as stage, ThreadPoolExecutor(_workers()) as pool:
        images = [stage.image() for _ in range(boards)]

        def boot(image: Image) -> Run:
            return stage.board(image, kind=_KIND).run("telemetry: acknowledged", _SECONDS)

        began = time.monotonic()
        runs = list(pool.map(boot, images))
        seconds = time.monotonic() - began
        _check(stage, boards, [run.log for run in runs if run.ended != "found"])
    return boards / seconds


def paho_boots(devices: int) -> float:
    """The same handshake and one sample by a process with paho-mqtt each, a second."""
    with Stage() as stage, ThreadPoolExecutor(_workers()) as pool:

        def boot(number: int) -> subprocess.CompletedProcess[str]:
            command = [sys.executable, str(_PAHO), str(stage.standin.mqtt_port), f"device-{number}", KEY, SECRET]
            return subprocess.run(command, capture_output=True, text=True, timeout=_SECONDS)

        began = time.monotonic()
        runs = list(pool.map(boot, range(devices)))
        seconds = time.monotonic() - began
        _check(stage, devices, [run.stderr for run in runs if run.returncode])
    return devices / seconds


def _check(stage: Stage, wanted: int, troubles: list[str]) -> None:
    if troubles or len(stage.standin.devices()) != wanted:
        raise RuntimeError(f"{len(stage.standin.devices())} of {wanted} devices provisioned: {troubles[:1]}")
