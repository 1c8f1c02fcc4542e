"""Fetch Debian's 32-bit MicroPython and its libraries into a folder, with apt's signature checks and no root.

apt-get works on private state folders, so the system's package lists, cache and configuration stay as they are.
Archive and keyring are those of the system's own apt sources.
"""

import shutil
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Callable
from pathlib import Path

from .errors import VmError
from .sources import Archive, archives

# MicroPython 1.26, on which every figure was measured; then 1.25, for an archive that is out of step with itself.
SUITES = ("forky", "trixie")

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
APT::Sandbox::User "root";
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


def fetch(target: Path, suite: str, *packages: str) -> None:
    """Fill `target` with the unpacked i386 `packages` of one suite and all that they need.

    Without packages it is the VM. VmError tells why it can't be done here.
    """
    what = packages or ("micropython",)
    _from_an_archive(lambda archive: _fetch_from(archive, suite, target, what))


def fetch_source(target: Path, suite: str, package: str = "micropython") -> None:
    """Fill `target` with a package's source as upstream released it: not patched, and without what Debian left out."""
    _from_an_archive(lambda archive: _fetch_source_from(archive, suite, target, package))


def _from_an_archive(take: Callable[[Archive], None]) -> None:
    missing = [tool for tool in _TOOLS if shutil.which(tool) is None]
    if missing:
        raise VmError(f"this is not a Debian-like machine: it has no {' and no '.join(missing)}")
    known = archives()
    if not known:
        raise VmError("this machine's apt sources name no Debian archive")
    troubles = []
    for archive in known:
        try:
            take(archive)
            return
        except VmError as error:
            troubles.append(str(error))
    raise VmError("; ".join(troubles))


def command(target: Path) -> tuple[str, ...]:
    """How to start the VM that fetch() laid in `target`: through its own loader and its own libraries."""
    libraries = target / "usr/lib/i386-linux-gnu"
    loader = libraries / "ld-linux.so.2"
    return (str(loader), "--library-path", str(libraries), str(target / "usr/bin/micropython"))


def _fetch_from(archive: Archive, suite: str, target: Path, packages: tuple[str, ...]) -> None:
    with tempfile.TemporaryDirectory(prefix="firstboot-apt-") as name:
        root = Path(name)
        _lay_state(root, archive, suite)
        _apt(root, "update")
        # "install --download-only" on an empty status file: apt itself finds the libraries that are needed.
        _say(f"fetching {', '.join(packages)} for i386 from Debian {suite}")
        _apt(root, "install", "--yes", "--download-only", *packages)
        for package in sorted((root / "cache/archives").glob("*.deb")):
            _run(["dpkg-deb", "--extract", str(package), str(target)])


def _fetch_source_from(archive: Archive, suite: str, target: Path, package: str) -> None:
    with tempfile.TemporaryDirectory(prefix="firstboot-apt-") as name:
        root = Path(name)
        _lay_state(root, archive, suite, "deb-src")
        _apt(root, "update")
        _say(f"fetching the source of {package} from Debian {suite} (6 MB)")
        _apt(root, "source", "--download-only", package, folder=root)
        found = [path for path in root.glob(f"{package}_*.orig.tar.*") if path.suffix != ".asc"]
        if len(found) != 1:
            raise VmError(f"the source package {package} has another form than expected")
        with tarfile.open(found[0]) as tar:
            tar.extractall(target, filter="data")


def _lay_state(root: Path, archive: Archive, suite: str, kind: str = "deb") -> None:
    for folder in ("state/lists/partial", "cache/archives/partial"):
        (root / folder).mkdir(parents=True)
    (root / "state/status").touch()
    signed_by = archive.signed_by or (_KEYRING if Path(_KEYRING).exists() else "")
    stanza = [
        f"Types: {kind}",
        f"URIs: {archive.uri}",
        f"Suites: {suite}",
        "Components: main",
    ]
    if kind == "deb":
        stanza += ["Architectures: i386", "Targets: Packages"]
    if signed_by:
        stanza.append(f"Signed-By: {signed_by}")
    (root / "debian.sources").write_text("\n".join(stanza) + "\n")
    # apt run by root drops to this user for downloads, and can't when the folder is closed to it.
    (root / "apt.conf").write_text(_CONFIG.format(root=root))


def _apt(root: Path, *arguments: str, folder: Path | None = None) -> None:
    _say(f"apt-get {arguments[0]} in a private folder")
    _run(["apt-get", "--quiet=2", f"--config-file={root / 'apt.conf'}", *arguments], folder)


def _run(command: list[str], folder: Path | None = None) -> None:
    options: dict = {"stdin": subprocess.DEVNULL, "capture_output": True, "text": True, "timeout": _APT_SECONDS}
    try:
        done = subprocess.run(command, cwd=folder, **options)
    except subprocess.TimeoutExpired as error:
        raise VmError(f"{command[0]} did not end within {_APT_SECONDS} s") from error
    if done.returncode or "\nE: " in f"\n{done.stderr}":
        errors = [line for line in done.stderr.splitlines() if line.startswith(("E:", "dpkg-deb:"))]
        raise VmError(" ".join(errors) or f"{command[0]} ended with {done.returncode}")


def _say(text: str) -> None:
    print(f"vm: {text}", file=sys.stderr, flush=True)
