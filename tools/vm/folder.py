"""The cache folder: made once by whoever comes first, used by every process afterwards."""

import contextlib
import fcntl
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path


def cache() -> Path:
    """$FIRSTBOOT_CACHE, else firstboot/ in the XDG cache folder; made if it is missing."""
    home = os.environ.get("FIRSTBOOT_CACHE")
    if not home:
        xdg = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
        home = str(Path(xdg) / "firstboot")
    folder = Path(home).absolute()
    folder.mkdir(parents=True, exist_ok=True)
    return folder


@contextlib.contextmanager
def locked(name: str) -> Iterator[None]:
    """One process at a time is in here with this `name`; the others wait."""
    with (cache() / f".{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def once(name: str, make: Callable[[Path], None]) -> Path:
    """Return cache/NAME; if it is missing, have `make` fill an empty folder that then takes that name.

    A rename publishes the folder, so no process ever sees half of one, and a file lock lets processes that
    want the same thing at the same time wait for the first. Whatever `make` raises leaves nothing behind.
    """
    final = cache() / name
    if final.is_dir():
        return final
    with locked(name):
        if final.is_dir():
            return final
        work = Path(tempfile.mkdtemp(prefix=f".{name}.", dir=final.parent))
        try:
            work.chmod(0o755)
            make(work)
            work.rename(final)
        finally:
            shutil.rmtree(work, ignore_errors=True)
    return final
