"""Fetch what the firmware stands on and pip can't install: MicroPython packages published on PyPI."""

import hashlib
import subprocess
import sys
import tarfile
from pathlib import Path

from .errors import VmError
from .folder import once

_NAME = "micropython-umqtt.simple"
_VERSION = "1.3.4"
_SHA256 = "b6a2520239e3992c63a7de9370ee9b3d9d27819a90359c521f1c0f7ccab8d12f"
_SECONDS = 300

_FLAGS = {"index-url": "--index-url", "extra-index-url": "--index-url", "trusted-host": "--trusted-host"}


def umqtt_simple() -> Path:
    """The path of umqtt/simple.py of PyPI's release, downloaded once; VmError if that fails or the hash differs."""
    return once(f"umqtt.simple-{_VERSION}", _fetch) / "umqtt" / "simple.py"


def _fetch(target: Path) -> None:
    print(f"vm: fetching {_NAME} {_VERSION}", file=sys.stderr, flush=True)
    archive = _download(target)
    if hashlib.sha256(archive.read_bytes()).hexdigest() != _SHA256:
        raise VmError(f"{_NAME} {_VERSION} is not the file that firstboot was tested with")
    with tarfile.open(archive) as tar:
        source = tar.extractfile(f"{_NAME}-{_VERSION}/umqtt/simple.py")
        if source is None:
            raise VmError(f"{archive.name} holds no umqtt/simple.py")
        (target / "umqtt").mkdir()
        (target / "umqtt/simple.py").write_bytes(source.read())
    archive.unlink()


def _download(target: Path) -> Path:
    # The package has no setup.py, so pip refuses it; unearth only downloads. It reads no pip configuration,
    # so what pip was told is handed on.
    command = [sys.executable, "-m", "unearth", "--no-binary", "--download", str(target), *_pip_options()]
    try:
        done = subprocess.run([*command, f"{_NAME}=={_VERSION}"], capture_output=True, text=True, timeout=_SECONDS)
    except subprocess.TimeoutExpired as error:
        raise VmError(f"{_NAME} could not be downloaded within {_SECONDS} s") from error
    found = list(target.glob("*.tar.gz"))
    if done.returncode or len(found) != 1:
        said = (done.stderr or done.stdout).strip().splitlines()
        raise VmError(f"{_NAME} {_VERSION} could not be downloaded: {said[-1] if said else 'not found'}")
    return found[0]


def _pip_options() -> list[str]:
    """pip's index settings (its files and its environment variables), as options of unearth."""
    command = [sys.executable, "-m", "pip", "config", "list"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=_SECONDS)
    options = []
    for line in done.stdout.splitlines():
        key, _, value = line.partition("=")
        flag = _FLAGS.get(key.rpartition(".")[2])
        for word in value.strip("'").split() if flag else []:
            options += [str(flag), word]
    return options
