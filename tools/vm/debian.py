"""Fetch Debian's 32-bit MicroPython and its libraries into a folder, with apt's signature checks and no root.

apt-get works on private state folders, so the system's package lists, cache and configuration stay as they are.
Archive and keyring are those of the system's own apt sources.
"""

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from .errors import VmError
from .sources import Archive, archives

# The first release that has the package, then the next one, for an archive that is out of step with itself.
SUITES = ("trixie", "forky")

_KEYRING = "/usr/share/keyrings/debian-archive-keyring.gpg"
_TOOLS = ("apt-get", "dpkg-deb")
_APT_SECONDS = 600

# The hooks that are cleared would empty the system's package cache in some container images.
_CONFIG = """
#clear APT::Update::Pre-Invoke;
#clear APT::Update::Post-Invoke;
#clear APT::Update::Post-Invoke-Success;
#clear DPkg::Pre-Install-Pkgs;
#clear DPkg::Post-Invoke;
APT::Architecture "i386";
#clear APT::Architectures;
APT::Architectures "i386";
APT::Install-Recommends "false";
APT::Sandbox::User "{user}";
Acquire::Languages "none";
Acquire::Retries "3";
Dir::Etc::sourcelist "{root}/debian.sources";
Dir::Etc::sourceparts "/dev/null";
Dir::Etc::preferences "/dev/null";
Dir::Etc::preferencesparts "/dev/null";
Dir::State "{root}/state";
Dir::State::status "{root}/state/status";
Dir::Cache "{root}/cache";
Dir::Cache::pkgcache "";
Dir::Cache::srcpkgcache "";
"""


def fetch(target: Path, suite: str) -> None:
    """Fill `target` with the unpacked packages of one suite. VmError tells why it can't be done here."""
    missing = [tool for tool in _TOOLS if shutil.which(tool) is None]
    if missing:
        raise VmError(f"this is not a Debian-like machine: it has no {' and no '.join(missing)}")
    known = archives()
    if not known:
        raise VmError("this machine's apt sources name no Debian archive")
    troubles = []
    for archive in known:
        try:
            _fetch_from(archive, suite, target)
            return
        except VmError as error:
            troubles.append(str(error))
    raise VmError("; ".join(troubles))


def command(target: Path) -> tuple[str, ...]:
    """How to start the VM that fetch() laid in `target`: through its own loader and its own libraries."""
    libraries = target / "usr/lib/i386-linux-gnu"
    loader = libraries / "ld-linux.so.2"
    return (str(loader), "--library-path", str(libraries), str(target / "usr/bin/micropython"))


def _fetch_from(archive: Archive, suite: str, target: Path) -> None:
    with tempfile.TemporaryDirectory(prefix="firstboot-apt-") as name:
        root = Path(name)
        _lay_state(root, archive, suite)
        _apt(root, "update")
        # "install --download-only" on an empty status file: apt itself finds the libraries that are needed.
        _say(f"fetching MicroPython's 32-bit VM from Debian {suite} (about 4 MB)")
        _apt(root, "install", "--yes", "--download-only", "micropython")
        for package in sorted((root / "cache/archives").glob("*.deb")):
            _run(["dpkg-deb", "--extract", str(package), str(target)])


def _lay_state(root: Path, archive: Archive, suite: str) -> None:
    for folder in ("state/lists/partial", "cache/archives/partial"):
        (root / folder).mkdir(parents=True)
    (root / "state/status").touch()
    signed_by = archive.signed_by or (_KEYRING if Path(_KEYRING).exists() else "")
    stanza = [
        "Types: deb",
        f"URIs: {archive.uri}",
        f"Suites: {suite}",
        "Components: main",
        "Architectures: i386",
        "Targets: Packages",
    ]
    if signed_by:
        stanza.append(f"Signed-By: {signed_by}")
    (root / "debian.sources").write_text("\n".join(stanza) + "\n")
    # apt run by root drops to this user for downloads, and can't when the folder is closed to it.
    (root / "apt.conf").write_text(_CONFIG.format(root=root, user="root"))


def _apt(root: Path, *arguments: str) -> None:
    _say(f"apt-get {arguments[0]} in a private folder")
    _run(["apt-get", "--quiet=2", f"--config-file={root / 'apt.conf'}", *arguments])


def _run(command: list[str]) -> None:
    try:
        done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=_APT_SECONDS)
    except subprocess.TimeoutExpired as error:
        raise VmError(f"{command[0]} did not end within {_APT_SECONDS} s") from error
    if done.returncode or "\nE: " in f"\n{done.stderr}":
        errors = [line for line in done.stderr.splitlines() if line.startswith(("E:", "dpkg-deb:"))]
        raise VmError(" ".join(errors) or f"{command[0]} ended with {done.returncode}")


def _say(text: str) -> None:
    print(f"vm: {text}", file=sys.stderr, flush=True)
