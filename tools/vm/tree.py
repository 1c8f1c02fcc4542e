"""MicroPython's own source, as Debian's package has it: for its build tools, and to freeze firstboot in."""

import shutil
import tempfile
from functools import partial
from pathlib import Path

from . import debian
from .errors import VmError
from .find import folder_name
from .folder import cache, once

_MBEDTLS = "forky"  # the suite with mbedtls 3.6, the series of MicroPython 1.23 and newer


def source(suite: str = "") -> Path:
    """The folder with MicroPython's source, fetched the first time; of one Debian suite, or of any. VmError.

    Debian leaves the submodules out (pico-sdk, lwip, mbedtls, micropython-lib); tools/, py/ and ports/ are whole.
    """
    troubles = []
    for each in [suite] if suite else sorted(debian.SUITES, key=_order):
        try:
            return next(once(_folder(each), partial(debian.fetch_source, suite=each)).iterdir())
        except VmError as error:
            troubles.append(f"Debian {each}: {error}")
    raise VmError("MicroPython's source can't be had.\n" + "\n".join(troubles))


def source_with_mbedtls(suite: str = "") -> Path:
    """The same with mbedtls' source where the submodule would be, so that MicroPython's build compiles it."""
    tree = source(suite)

    def make(target: Path) -> None:
        shutil.copytree(tree, target / tree.name, symlinks=True)
        with tempfile.TemporaryDirectory() as folder:
            debian.fetch_source(Path(folder), _MBEDTLS, "mbedtls")
            shutil.copytree(next(Path(folder).iterdir()), target / tree.name / "lib/mbedtls", dirs_exist_ok=True)

    return next(once(f"{tree.parent.name}-mbedtls", make).iterdir())


def _order(suite: str) -> bool:
    # The suite that the VM is from goes first: figures of the two can be compared.
    return not (cache() / folder_name(suite)).is_dir()


def _folder(suite: str) -> str:
    return f"source-debian-{suite}"
