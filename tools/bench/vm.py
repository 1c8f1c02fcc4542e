"""Run one of scripts/ on the VM as it is, without a virtual board: for what only a stopwatch is needed."""

from __future__ import annotations

import json
import subprocess
import tempfile
from pathlib import Path
from typing import Any

from ..build import firmware, microcoapy
from ..vm import find

SCRIPTS = Path(__file__).parent / "scripts"
_SECONDS = 300


def run(name: str, *arguments: object, heap: int = 1 << 20) -> Any:
    """The JSON that scripts/`name`.py prints last; RuntimeError with what it said instead."""
    with tempfile.TemporaryDirectory(prefix="firstboot-") as folder:
        for path, data in {**firmware(strip=True, short=False), **microcoapy(strip=True)}.items():
            place = Path(folder + path)
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_bytes(data)
        done = subprocess.run(
            [*find().command, "-X", f"heapsize={heap}", str(SCRIPTS / f"{name}.py"), *map(str, arguments)],
            env={"MICROPYPATH": f"{folder}/lib:.frozen"},
            capture_output=True,
            text=True,
            timeout=_SECONDS,
        )
    if done.returncode:
        raise RuntimeError(f"scripts/{name}.py: {done.stdout}{done.stderr}")
    return json.loads(done.stdout.splitlines()[-1])
