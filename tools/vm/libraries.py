"""Fetch what the firmware stands on and pip can't install: MicroPython packages published on PyPI."""

from __future__ import annotations

import hashlib
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

from . import VmError, cache, locked

_UMQTT = "micropython-umqtt.simple"
_UMQTT_VERSION = "1.3.4"
_UMQTT_SHA256 = "b6a2520239e3992c63a7de9370ee9b3d9d27819a90359c521f1c0f7ccab8d12f"


def umqtt_simple() -> Path:
    """The path of umqtt/simple.py of PyPI's release; fetched once.

    The package has no setup.py, so pip refuses it; `unearth` downloads it by the same rules and settings.
    """
    with locked("umqtt"):
        target = cache() / f"umqtt-{_UMQTT_VERSION}" / "simple.py"
        if not target.exists():
            with tempfile.TemporaryDirectory(dir=cache()) as folder:
                _fetch(Path(folder), target)
        return target


def _fetch(folder: Path, target: Path) -> None:
    unearth = Path(sys.executable).with_name("unearth")
    done = subprocess.run(
        [unearth, f"{_UMQTT}=={_UMQTT_VERSION}", "--download", folder],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    archives = list(folder.glob("*.tar.gz"))
    if done.returncode or not archives:
        raise VmError(f"{_UMQTT} could not be fetched:\n{done.stdout}{done.stderr}")
    data = archives[0].read_bytes()
    if hashlib.sha256(data).hexdigest() != _UMQTT_SHA256:
        raise VmError(f"{_UMQTT} {_UMQTT_VERSION} is not the file that firstboot was tested with")
    with tarfile.open(archives[0]) as tar:
        member = next(m for m in tar.getmembers() if m.name.endswith("umqtt/simple.py"))
        source = tar.extractfile(member)
        if source is None:
            raise VmError(f"{_UMQTT} holds no umqtt/simple.py")
        target.parent.mkdir(exist_ok=True)
        part = target.with_suffix(".part")
        part.write_bytes(source.read())
    part.rename(target)
