"""Fetch MicroPython's i386 package and what it links to from Debian's archive into a folder.

The archive's address, and the keys that sign it, are those of the system's own apt sources. apt checks the
signatures; its state, cache and package lists live in a temporary folder, so the system does not notice.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

# micropython is in Debian 13 and later. The older suite comes first: its version does not change any more. The
# next ones stand in when a mirror is in the middle of an update.
SUITES = ("trixie", "forky", "sid")
_LIBRARIES = "usr/lib/i386-linux-gnu"
_KEYRING = "/usr/share/keyrings/debian-archive-keyring.gpg"

_WAYS_OUT = """
Two ways out:
  - set MICROPYTHON to a MicroPython unix VM, 1.23 or newer, built with VfsLfs2 and tls
    (make -C ports/unix VARIANT=standard in MicroPython's tree; 32-bit with MICROPY_FORCE_32BIT=1)
  - run this on Debian, where it is fetched from the archive that apt uses"""


def command(root: Path) -> tuple[str, ...]:
    """The command that starts the VM unpacked in `root`; empty when there is none."""
    libraries, loader, binary = root / _LIBRARIES, None, root / "usr/bin/micropython"
    for place in (libraries / "ld-linux.so.2", root / "usr/lib/ld-linux.so.2", root / "lib/ld-linux.so.2"):
        if place.exists():
            loader = place
            break
    if loader is None or not binary.exists():
        return ()
    return (str(loader), "--library-path", str(libraries), str(binary))


def fetch(root: Path) -> None:
    """Unpack Debian's i386 MicroPython into `root`, which appears in one step. VmError says what went wrong."""
    from . import VmError

    if not (shutil.which("apt-get") and shutil.which("dpkg-deb")):
        raise VmError("no MicroPython VM, and this is not a Debian-like machine." + _WAYS_OUT)
    archives = _archives()
    if not archives:
        raise VmError("no MicroPython VM, and apt has no Debian archive among its sources." + _WAYS_OUT)
    said = ""
    for uri, keyring in archives:
        for suite in SUITES:
            print(f"fetching MicroPython's unix VM from Debian {suite} (once) ...", file=sys.stderr, flush=True)
            with tempfile.TemporaryDirectory(dir=root.parent) as folder:
                try:
                    _download(Path(folder), uri, keyring, suite)
                except subprocess.CalledProcessError as e:
                    said = e.stderr.strip()
                    continue
                shutil.rmtree(root, ignore_errors=True)
                (Path(folder) / "root").rename(root)
                return
    raise VmError(f"no MicroPython VM, and apt could not fetch one:\n{said}" + _WAYS_OUT)


def _download(folder: Path, uri: str, keyring: str, suite: str) -> None:
    for name in ("lists/partial", "cache/archives/partial", "root"):
        (folder / name).mkdir(parents=True)
    (folder / "status").touch()
    (folder / "sources.list").write_text(f"deb [signed-by={keyring}] {uri} {suite} main\n")
    options = {
        "Dir::Etc::sourcelist": folder / "sources.list",
        "Dir::Etc::sourceparts": "-",
        "Dir::State": folder,
        "Dir::State::Lists": folder / "lists",
        # An empty status file: whatever this machine has installed, all that the VM links to is fetched.
        "Dir::State::status": folder / "status",
        "Dir::Cache": folder / "cache",
        "APT::Architecture": "i386",
        "APT::Architectures": "i386",
        "APT::Sandbox::User": "root",
        "Acquire::Languages": "none",
        "Acquire::Retries": "2",
        "Debug::NoLocking": "true",
    }
    apt = ["apt-get", "-qq"]
    for name, value in options.items():
        apt += ["-o", f"{name}={value}"]
    for action in (
        ["update", "--error-on=any"],
        ["install", "--download-only", "--yes", "--no-install-recommends", "micropython"],
    ):
        subprocess.run([*apt, *action], check=True, capture_output=True, text=True, timeout=600)
    for package in (folder / "cache/archives").glob("*.deb"):
        subprocess.run(["dpkg-deb", "-x", package, folder / "root"], check=True, capture_output=True, text=True)


def _archives() -> list[tuple[str, str]]:
    """(address, keyring) of every Debian archive among the system's apt sources, security archives left out."""
    found: dict[str, str] = {}
    parts = Path("/etc/apt/sources.list.d")
    files = [Path("/etc/apt/sources.list"), *sorted(parts.glob("*.list")), *sorted(parts.glob("*.sources"))]
    for file in files:
        try:
            text = file.read_text()
        except OSError:
            continue
        for uri, keyring in _stanzas(text) if file.suffix == ".sources" else _lines(text):
            if re.search(r"/debian/?$", uri):
                found.setdefault(uri.rstrip("/"), keyring or _KEYRING)
    return list(found.items())


def _stanzas(text: str) -> list[tuple[str, str]]:
    found = []
    for stanza in re.split(r"\n\s*\n", text):
        fields = dict(re.findall(r"^(\S+?):\s*(.*)$", stanza, re.MULTILINE))
        if "deb" in fields.get("Types", "").split():
            found += [(uri, fields.get("Signed-By", "")) for uri in fields.get("URIs", "").split()]
    return found


def _lines(text: str) -> list[tuple[str, str]]:
    found = []
    for options, uri in re.findall(r"^deb\s+(?:\[([^]]*)\]\s+)?(\S+)", text, re.MULTILINE):
        keyring = re.search(r"signed-by=(\S+)", options)
        found.append((uri, keyring[1] if keyring else ""))
    return found
