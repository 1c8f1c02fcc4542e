"""MicroPython itself: is the file for this chip, does it fit, and how it gets there (esptool, or a UF2 drive)."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from .. import boards
from ..console import fail
from ..image import look
from ..image.uf2 import Uf2Error
from .talk import BoardFailed, Stopped

ESPTOOL = (sys.executable, "-m", "esptool")
OTHER = "give the file for its chip, or leave this board out"
_BAUD = 460800
_MEDIA = ("/media", "/run/media", "/Volumes", "/mnt")


@dataclass(frozen=True)
class Image:
    """A file with MicroPython, and the chip that it is for ("esp32s3", "rp2040"); Failed where it is neither."""

    path: Path
    mcu: str
    size: int  # bytes of flash that it takes

    @classmethod
    def of(cls, path: Path) -> Image:
        """Look what the file is, and whether any board that firstboot knows can take it."""
        try:
            data = path.read_bytes()
        except OSError as e:
            fail(f"{path} can't be read: {e.strerror}", "download MicroPython for your board from micropython.org")
        try:
            mcu, size = look(data)
        except Uf2Error as e:
            fail(f"{path} is no MicroPython image: {e}", "download it again")
        if not mcu:
            fail(f"{path} is no MicroPython image", "a .bin file for ESP32, a .uf2 file for RP2040 and RP2350")
        image = cls(path, mcu, size)
        kinds = [board for board in map(boards.load, boards.names()) if board.mcu == mcu]
        if not kinds:
            fail(f"{path} is for {mcu}, which firstboot knows no board of", f"it knows {', '.join(boards.names())}")
        room = max(board.fs.offset - board.firmware for board in kinds)
        if size > room:
            fail(
                f"{path} takes {size:,} bytes, and there are {room:,} before the file system of {kinds[0].name}",
                "a whole-flash image goes on with esptool or the UF2 drive; build MicroPython with less frozen in",
            )
        return image

    @property
    def board(self) -> boards.Board:
        """The board that it is for, as far as chips tell boards apart."""
        return next(board for board in map(boards.load, boards.names()) if board.mcu == self.mcu)

    def check(self, machine: str) -> None:
        """BoardFailed when the board that calls itself `machine` has another chip."""
        if not _is_chip(machine, self.mcu):
            raise BoardFailed(f"{self.path.name} is for {self.mcu.upper()}, and this is a {machine}", OTHER)


def _is_chip(machine: str, mcu: str) -> bool:
    chip = re.sub(r"[^a-z0-9]", "", machine.rpartition(" with ")[2].lower())
    return chip == mcu


def esptool(
    port: str,
    image: Image,
    erase: bool,
    progress: Callable[[float], None],
    stop: threading.Event,
    seconds: float = 300,
) -> None:
    """Write the image to an ESP32 through its ROM loader; esptool checks the chip and verifies. BoardFailed."""
    command = [*ESPTOOL, "--port", os.path.realpath(port), "--chip", image.mcu, "--baud", str(_BAUD), "write-flash"]
    command += ["--erase-all"] if erase else []
    command += [hex(image.board.firmware), str(image.path)]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace"
    ) as run:
        killer = threading.Timer(seconds, run.kill)
        killer.start()
        assert run.stdout is not None
        said: deque[str] = deque(maxlen=40)
        try:
            for line in run.stdout:
                said.append(line.strip())
                percent = re.search(r"\b(\d+(?:\.\d+)?) ?%", line)
                if percent:
                    progress(float(percent.group(1)) / 100)
                if stop.is_set():
                    run.kill()
                    raise Stopped
        finally:
            killer.cancel()
    if run.returncode:
        raise _esp_failed("\n".join(said), run.returncode)


def _esp_failed(said: str, code: int) -> BoardFailed:
    fatal = re.findall(r"A fatal error occurred: ([^\n]+)", said)
    reason = fatal[-1] if fatal else (said.splitlines() or [f"ended with {code}"])[-1]
    if code < 0:
        return BoardFailed("esptool did not end in time", "plug the board out and in, and run the command again")
    if re.search(r"This chip is|not ESP32|chip ID|Wrong chip|wrong --chip", reason, re.I):
        return BoardFailed(f"wrong chip for the image: {reason}", OTHER)
    if re.search(r"Permission denied|could not open|busy|lock", reason, re.I):
        return BoardFailed(f"esptool can't open the port: {reason}", "close what has it open; see `firstboot doctor`")
    return BoardFailed(f"esptool: {reason}", "hold the BOOT button while it connects, or use a better cable")


def drives() -> list[Path]:
    """The mounted drives of boards whose boot ROM waits for a UF2 file."""
    found = []
    for place in map(Path, _MEDIA):
        for pattern in ("*/INFO_UF2.TXT", "*/*/INFO_UF2.TXT"):
            with contextlib.suppress(OSError):
                found += [path.parent for path in place.glob(pattern)]
    return sorted(set(found))


def copy_uf2(drive: Path, image: Image, progress: Callable[[float], None], seconds: float = 60) -> None:
    """Copy the image onto the drive of a board's boot ROM, which takes it and starts it. BoardFailed."""
    uf2 = image.board.uf2
    try:
        info = (drive / "INFO_UF2.TXT").read_text(errors="replace")
    except OSError as e:
        raise BoardFailed(f"{drive} is no board's UF2 drive", "hold BOOTSEL while you plug the board in") from e
    found = re.search(r"Board-ID: *(\S+)", info)
    if uf2 is None or not found or found.group(1) != uf2.drive:
        what = found.group(1) if found else "an unknown board"
        raise BoardFailed(f"{image.path.name} is for {image.mcu.upper()}, and {drive} is {what}", OTHER)
    try:
        if shutil.disk_usage(drive).free < image.path.stat().st_size:
            raise BoardFailed(f"{drive} has no room for {image.path.name}", "is it really the board's drive?")
        _copy(image.path, drive / "NEW.UF2", progress)
    except OSError as e:
        # The board may start before the host has closed the file; then the drive is gone, and all is well.
        if (drive / "INFO_UF2.TXT").exists():
            raise BoardFailed(f"{drive} can't be written: {e.strerror}", "mount it writable for yourself") from e
    end = time.monotonic() + seconds
    while (drive / "INFO_UF2.TXT").exists():
        if time.monotonic() > end:
            raise BoardFailed("the board did not take the UF2 file", "plug it in again with BOOTSEL held")
        time.sleep(0.05)


def _copy(source: Path, target: Path, progress: Callable[[float], None]) -> None:
    data = source.read_bytes()
    with target.open("wb") as f:
        for at in range(0, len(data), 65536):
            f.write(data[at : at + 65536])
            progress(min(1.0, (at + 65536) / len(data)))
        f.flush()
        os.fsync(f.fileno())


def wait_for_drive(known: list[Path], stop: threading.Event, seconds: float = 30) -> Path:
    """The drive that comes up after a board went into its boot ROM. BoardFailed."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        new = [drive for drive in drives() if drive not in known]
        if new:
            return new[0]
        if stop.wait(0.1):
            raise Stopped
    raise BoardFailed("the board's UF2 drive did not appear", "mount it, and name it with --drive")
