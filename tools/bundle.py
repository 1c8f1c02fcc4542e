"""`python -m tools.bundle`: build/firstboot-VERSION-mpyABI.zip, all that a board needs, compiled, installable by mip.

Each file is compiled with every supported release's own mpy-cross. As long as they agree to the byte, one bundle
serves them all; releases that differ get a bundle of their own. The same tree gives the same bundle, to the byte.
"""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated

import typer

from . import package
from .build import SMALL_INTS, STRIP, source_name
from .places import FIRMWARE, ROOT, version
from .shorten import shorten
from .versions import MPY_CROSS, mpy_cross
from .vm import VmError, umqtt_simple

BUILD = ROOT / "build"
_SOURCES = ("main.py", "app.py", "config.example.json")
_WHEN = (1980, 1, 1, 0, 0, 0)  # a ZIP file's zero hour

_README = """\
firstboot {version} for MicroPython {releases}, compiled (.mpy format {abi}).

By mip:     mpremote mip install package.json
            mpremote cp main.py app.py config.json :
By hand:    mpremote cp -r lib main.py app.py config.json :

config.json is yours to write: config.example.json shows the least of it. lib/umqtt is umqtt.simple of
micropython-lib; what transport "coap" needs besides, microCoAPy, is installed by mip only.
"""


def bundles(releases: Iterable[str] = MPY_CROSS) -> dict[str, dict[str, bytes]]:
    """Name of each bundle -> its files (path -> content)."""
    groups: dict[tuple[bytes, ...], list[str]] = {}
    code: dict[tuple[bytes, ...], dict[str, bytes]] = {}
    for release in releases:
        compiled = _compiled(release)
        key = tuple(compiled.values())
        groups.setdefault(key, []).append(release)
        code[key] = compiled
    abis = {key: _abi(names[0]) for key, names in groups.items()}
    made = {}
    for key, names in groups.items():
        alone = list(abis.values()).count(abis[key]) == 1
        name = f"firstboot-{version()}-mpy{abis[key]}" + ("" if alone else f"-micropython-{names[-1]}")
        made[name] = _files(code[key], names, abis[key])
    return made


def write(files: dict[str, bytes], folder: Path) -> Path:
    """Lay the bundle as a folder and, beside it, as a ZIP file, whose path is returned."""
    for place, data in files.items():
        (folder / place).parent.mkdir(parents=True, exist_ok=True)
        (folder / place).write_bytes(data)
    path = folder.parent / f"{folder.name}.zip"
    # Not compressed: what zlib makes of the same bytes differs from version to version.
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as out:
        for place in sorted(files):
            entry = zipfile.ZipInfo(f"{folder.name}/{place}", _WHEN)
            entry.create_system = 3
            entry.external_attr = 0o100644 << 16
            out.writestr(entry, files[place])
    return path


def _compiled(release: str) -> dict[str, bytes]:
    sources = {module: shorten((FIRMWARE / module).read_text()) for module in package.modules()}
    sources["umqtt/simple.py"] = umqtt_simple().read_text()
    compiler = mpy_cross(release)
    compiled = {}
    with tempfile.TemporaryDirectory() as folder:
        text, out = Path(folder) / "in.py", Path(folder) / "out.mpy"
        for place, source in sources.items():
            text.write_text(source)
            options = [*STRIP, *SMALL_INTS, "-s", source_name(place, short=True)]
            command = [str(compiler), *options, "-o", str(out), str(text)]
            done = subprocess.run(command, capture_output=True, text=True, timeout=60)
            if done.returncode:
                raise VmError(f"mpy-cross {release}: {(done.stdout + done.stderr).strip()}")
            compiled[place.removesuffix(".py") + ".mpy"] = out.read_bytes()
    return compiled


def _abi(release: str) -> str:
    said = subprocess.run([str(mpy_cross(release)), "--version"], capture_output=True, text=True, timeout=60).stdout
    found = re.search(r"mpy v(\d+\.\d+)", said)
    if not found:
        raise VmError(f"mpy-cross {release} does not tell its format: {said.strip()}")
    return found[1]


def _files(compiled: dict[str, bytes], releases: list[str], abi: str) -> dict[str, bytes]:
    index = package.index({place: f"lib/{place}" for place in compiled}, package.DEPENDENCIES[1:])
    span = releases[0] if len(releases) == 1 else f"{releases[0]} to {releases[-1]}"
    files = {f"lib/{place}": data for place, data in compiled.items()}
    files |= {name: (FIRMWARE / name).read_bytes() for name in _SOURCES}
    files["LICENSE"] = (ROOT / "LICENSE").read_bytes()
    files["package.json"] = package.text(index).encode()
    files["README.txt"] = _README.format(version=version(), releases=span, abi=abi).encode()
    return files


def main(to: Annotated[Path, typer.Option(help="The folder to write into.")] = BUILD) -> None:
    """Write the bundles, as folders and as ZIP files."""
    try:
        for name, files in bundles().items():
            path = write(files, to / name)
            print(f"{path}  {path.stat().st_size} bytes, {len(files)} files")
    except VmError as error:
        print(f"bundle: {error}", file=sys.stderr)
        raise typer.Exit(1) from None


if __name__ == "__main__":
    typer.run(main)
