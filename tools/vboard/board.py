"""The host's side of a virtual board: power, reset, the log, and what the flash and the pins did."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import json
import os
import re
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .. import boards
from ..build import compile_file
from ..vm import Vm, cache, find
from .bootloader import Bootloader
from .cable import Cable, terminal
from .image import BLOCK, NVS_SIZE, Image

_DEVICE = Path(__file__).parent / "device"
_RESET = 64  # exit codes of device/machine.py
_SOFT = 80
_POWER_OFF = 63
_BOOT_ROM = 62

# Port -> its network.STAT_*.
STATS = {
    "esp32": {
        "STAT_IDLE": 1000,
        "STAT_CONNECTING": 1001,
        "STAT_GOT_IP": 1010,
        "STAT_NO_AP_FOUND": 201,
        "STAT_WRONG_PASSWORD": 202,
        "STAT_BEACON_TIMEOUT": 200,
        "STAT_ASSOC_FAIL": 203,
        "STAT_HANDSHAKE_TIMEOUT": 204,
    },
    "rp2": {
        "STAT_IDLE": 0,
        "STAT_CONNECTING": 1,
        "STAT_GOT_IP": 3,
        "STAT_CONNECT_FAIL": -1,
        "STAT_NO_AP_FOUND": -2,
        "STAT_WRONG_PASSWORD": -3,
    },
}

# The ports' own numbers and names. A machine.reset() is a watchdog reset to the RP2.
_PORTS: dict[str, dict[str, Any]] = {
    "esp32": {
        "causes": {"PWRON_RESET": 1, "HARD_RESET": 2, "WDT_RESET": 3, "DEEPSLEEP_RESET": 4, "SOFT_RESET": 5},
        "after_reset": "HARD_RESET",
        "formats": False,
    },
    "rp2": {
        "causes": {"PWRON_RESET": 1, "WDT_RESET": 3},
        "after_reset": "WDT_RESET",
        "formats": True,
    },
}


def _kind(name: str) -> dict[str, Any]:
    board = boards.load(name)
    own = {
        "port": board.port,
        "machine": board.machine,
        "watchdog_most": board.watchdog_ms,
        "led": board.led if isinstance(board.led, str) else None,
        "native_usb": board.port == "rp2",
        "uf2_drive": board.uf2.drive if board.uf2 else None,
    }
    return {**_PORTS[board.port], "stats": STATS[board.port], **own}


KINDS = {name: _kind(name) for name in boards.names()}


@dataclass
class WifiPlan:
    """What the radio finds: networks with their passwords, and when they are out of reach.

    `down`: spans of (from, until) seconds since the boot. A lost network keeps new connections from being made;
    what is open already is cut by the server side's fault plan.
    """

    networks: dict[str, str] = field(default_factory=lambda: {"lab": "lab-password"})
    join_ms: int = 20
    down: list[tuple[float, float]] = field(default_factory=list)


@dataclass
class PowerCut:
    """The power goes at flash operation `at` (1 is the first since it came; programs, erases and NVS entries count).

    `torn`: how much of that operation is still done: "before" none of it, "half", or "after" all of it.
    """

    at: int
    torn: str = "half"


@dataclass
class Run:
    """What a board did: the log with seconds since power-on, resets, pins, and how it ended."""

    lines: list[tuple[float, str]] = field(default_factory=list)
    events: list[dict[str, Any]] = field(default_factory=list)
    boots: int = 0
    # "found", "timeout", "idle" (main.py returned), "crash", "power cut", "killed", "stopped", "unread" (VirtualBoard's
    # `echo`)
    ended: str = ""

    @property
    def log(self) -> str:
        """The log as text."""
        return "\n".join(line for _, line in self.lines)

    def has(self, pattern: str) -> bool:
        """Whether some line of the log matches the regular expression."""
        return re.search(pattern, self.log) is not None

    def event(self, name: str) -> list[Any]:
        """The values of every event called `name` ("held", "idle", "pin", "cut", "flash")."""
        return [event[name] for event in self.events if name in event]


class VirtualBoard:
    """A board with the flash in `image`. Power it with run(), or start() and stop().

    `heap`: bytes of the MicroPython heap. `uid`: unique_id(), by default made from the image's path, so that a
    board keeps it. `seed`: a number makes os.urandom() repeatable. `clock`: "set", the host's, or "unset": the board
    wakes up in its port's first year, as one without a battery does. `trace`: each flash operation is an event
    "flash" with its block. `vm`: a MicroPython other than find()'s. `echo`: called with each log line; where it raises
    OSError or SystemExit, as who reads the log has gone, the power goes. `blank`: an RP2 without MicroPython, which
    comes up in its boot ROM until it is given some. `ota`: an ESP32 with two app partitions (`bootloader`).
    """

    def __init__(
        self,
        image: Image,
        kind: str = "ESP32_GENERIC",
        heap: int = 128 * 1024,
        *,
        uid: bytes | None = None,
        wifi: WifiPlan | None = None,
        cut: PowerCut | None = None,
        seed: int | None = None,
        clock: str = "set",
        trace: bool = False,
        vm: Vm | None = None,
        echo: Callable[[str], None] | None = None,
        blank: bool = False,
        ota: bool = False,
    ) -> None:
        self.image = image
        self.kind = kind
        self.heap = heap
        digest = hashlib.sha256(str(image.path.resolve()).encode()).digest()
        # A chip's own MAC is never a group address.
        self.uid = uid or bytes([digest[0] & 0xFE]) + digest[1 : 6 if KINDS[kind]["port"] == "esp32" else 8]
        self.wifi = wifi or WifiPlan()
        self.cut = cut
        self.seed = seed
        self.clock = clock
        self.trace = trace
        self.vm = vm
        self.echo = echo
        self.blank = blank
        self.bootloader = Bootloader(image.path) if ota else None
        self.run_so_far = Run()
        self.cable: Cable | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._thread: threading.Thread | None = None
        self._changed = threading.Condition()
        self._off = False
        self._watchdog = 0  # ms of the watchdog that was started since the last reset but a soft one

    @property
    def mac(self) -> str:
        """The radio's MAC as the name's template has it."""
        return self._mac().hex()

    def __enter__(self) -> VirtualBoard:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()

    def serial(self) -> str:
        """Plug a cable in, before the power comes on: from then on the board has a console with a REPL, and never
        ends by itself. The path is the port that host programs open; `cable` is what tests tamper with."""
        if self.cable is None:
            self.cable = Cable(self.image.path.with_name(self.image.path.name + ".tty"), KINDS[self.kind]["native_usb"])
            if not self.blank:
                self.cable.plug()
        return self.cable.path

    @property
    def drive(self) -> Path:
        """The folder that stands for the drive of an RP2's boot ROM (machine.bootloader()), while there is one."""
        return self.image.path.with_name(self.image.path.name + ".drive")

    def start(self) -> VirtualBoard:
        """Power on; the log is collected from here on."""
        self._off = False
        self._watchdog = 0
        if self.cable and not self.blank:
            self.cable.plug()
        self.run_so_far = Run()
        self._thread = threading.Thread(target=self._live, daemon=True)
        self._thread.start()
        return self

    def stop(self) -> Run:
        """Cut the power, if there still is any, and return what the board did."""
        self._power_off()
        if self.cable:
            self.cable.unplug()
        if self._thread:
            self._thread.join()
        return self.run_so_far

    def run(self, until: str | Callable[[Run], bool] | None = None, timeout: float = 20) -> Run:
        """Power on, wait until the log matches `until` (or the callable says so) or the board ends, power off."""
        with self:
            run = self.run_so_far
            found = (lambda r: r.has(until)) if isinstance(until, str) else until
            if not self.wait(lambda r: bool(r.ended) or (found is not None and found(r)), timeout):
                run.ended = "timeout"
            elif not run.ended:
                run.ended = "found"
        return run

    def wait(self, until: str | Callable[[Run], bool], timeout: float = 20) -> bool:
        """Wait for a running board's log to match `until` (or for the callable); False after `timeout` seconds."""
        found = (lambda r: r.has(until)) if isinstance(until, str) else until
        end = time.monotonic() + timeout
        with self._changed:
            # A callable may look at more than the board, so it is asked again now and then.
            while not found(self.run_so_far):
                if time.monotonic() > end:
                    return False
                self._changed.wait(0.02)
            return True

    def _power_off(self) -> None:
        self._off = True
        with contextlib.suppress(AttributeError, ProcessLookupError):
            self._process.kill()  # type: ignore[union-attr]

    def _live(self) -> None:
        run, began, cause, raw = self.run_so_far, time.monotonic(), "PWRON_RESET", False
        causes = KINDS[self.kind]["causes"]
        if self.blank:
            self._boot_rom()
            if self.cable and not self._off:
                self.cable.plug()
        soft = False
        while not self._off:
            if self.bootloader and not soft:
                self.bootloader.start()
            code = self._boot(cause, raw, run, began)
            soft = code in (_SOFT, _SOFT + 1)
            if not soft:
                self._watchdog = 0
            names = [name for name in causes if causes[name] == code - _RESET]
            raw = code == _SOFT + 1
            if soft:
                cause = "SOFT_RESET" if "SOFT_RESET" in causes else cause
            elif code == -signal.SIGALRM:
                cause = "WDT_RESET"
            elif code == _BOOT_ROM:
                cause = "PWRON_RESET"
                self._boot_rom()
            elif names:
                cause = names[0]
            else:
                ends = {0: "idle", _POWER_OFF: "power cut", -signal.SIGKILL: "killed"}
                run.ended = run.ended or ends.get(code, "crash")
                break
            if self.cable and self.cable.native and not soft:
                self._replug()
        with self._changed:
            self._changed.notify_all()

    def _replug(self) -> None:
        # A reset of a chip that is its own USB device: the host sees the port go and come.
        assert self.cable is not None
        self.cable.unplug()
        if not self._off:
            self.cable.plug()

    def _boot_rom(self) -> None:
        # The RP2's boot ROM: the board is a drive, until a UF2 file is on it as a whole. What the file holds is kept
        # beside the image and not run: MicroPython is the VM.
        if self.cable:
            self.cable.unplug()
        self.drive.mkdir()
        name = KINDS[self.kind]["uf2_drive"]
        (self.drive / "INFO_UF2.TXT").write_text(f"UF2 Bootloader v3.0\nModel: Raspberry Pi RP2\nBoard-ID: {name}\n")
        while not self._off and not any(map(_is_whole, self.drive.glob("*.[uU][fF]2"))):
            time.sleep(0.02)
        for path in self.drive.glob("*.[uU][fF]2"):
            path.replace(self.image.path.with_name(self.image.path.name + ".uf2"))
            self.blank = False
        shutil.rmtree(self.drive)

    def _boot(self, cause: str, raw: bool, run: Run, began: float) -> int:
        command, env = self._command(cause, raw)
        read, write = os.pipe()
        host, console = terminal() if self.cable else (-1, subprocess.DEVNULL)
        with open(read, "rb") as events:
            self._process = process = subprocess.Popen(
                command,
                env={**env, "VBOARD_EVENTS": str(write)},
                stdin=console,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                pass_fds=(write,),
                start_new_session=self.cable is not None,
            )
            os.close(write)
            run.boots += 1
            if self._off:
                process.kill()
            teller = threading.Thread(target=self._listen, args=(events, run), daemon=True)
            teller.start()
            assert process.stdout is not None
            if self.cable:
                os.close(console)
                lines = _Lines(lambda line: self._logged(line, run, began))
                self.cable.carry(host, process.stdout.fileno(), lines.feed, process.kill)
                lines.end()
                os.close(host)
            else:
                for raw_line in process.stdout:
                    self._logged(raw_line, run, began)
            process.stdout.close()
            teller.join()
        return process.wait()

    def _logged(self, raw: bytes, run: Run, began: float) -> None:
        line = raw.decode(errors="replace").rstrip()
        with self._changed:
            run.lines.append((time.monotonic() - began, line))
            self._changed.notify_all()
        if self.echo:
            try:
                self.echo(line)
            except (OSError, SystemExit):  # who read it has gone, `| head` for one; rich then wants to leave
                self.echo = None
                run.ended = "unread"
                self._power_off()

    def _listen(self, events: Any, run: Run) -> None:
        for raw in events:
            with self._changed:
                run.events.append(json.loads(raw))
                self._watchdog = run.events[-1].get("watchdog", self._watchdog)
                self._changed.notify_all()

    def _mac(self) -> bytes:
        return self.uid if len(self.uid) == 6 else b"\x28\xcd" + self.uid[-4:]

    def _command(self, cause: str, raw: bool) -> tuple[list[str], dict[str, str]]:
        kind = KINDS[self.kind]
        nvs = self.image.nvs
        if kind["port"] == "esp32":
            nvs.touch()
            if nvs.stat().st_size < NVS_SIZE:
                os.truncate(nvs, NVS_SIZE)
        spec = {
            **kind,
            "image": str(self.image.path.resolve()),
            "block": BLOCK,
            "blocks": self.image.path.stat().st_size // BLOCK,
            "nvs": str(nvs.resolve()) if nvs.exists() else None,
            "nvs_size": NVS_SIZE,
            "app": self.bootloader.spec() if self.bootloader else None,
            "uid": list(self.uid),
            "mac": list(self._mac()),
            "cause": kind["causes"][cause],
            "wifi": {
                "networks": self.wifi.networks,
                "join_ms": self.wifi.join_ms,
                "down": [[int(a * 1000), int(b * 1000)] for a, b in self.wifi.down],
            },
            "cut": max(0, self.cut.at - sum(self.run_so_far.event("operations"))) if self.cut else 0,
            "torn": ("before", "half", "after").index(self.cut.torn) if self.cut else 0,
            "seed": self.seed,
            "trace": self.trace,
            "watchdog": self._watchdog,
            "console": ("raw" if raw else "friendly") if self.cable else None,
            "clock": self.clock,
        }
        env = {"MICROPYPATH": str(_device()), "VBOARD": json.dumps(spec), "PATH": os.environ.get("PATH", "")}
        return [*(self.vm or find()).command, "-X", f"heapsize={self.heap}", "-m", "vboard"], env


def _is_whole(path: Path) -> bool:
    # Each block of 512 bytes tells its number and how many there are.
    data = path.read_bytes()
    return len(data) >= 512 and len(data) == 512 * int.from_bytes(data[24:28], "little")


class _Lines:
    """Cuts a stream of bytes into lines."""

    def __init__(self, logged: Callable[[bytes], None]) -> None:
        self.logged = logged
        self.rest = b""

    def feed(self, data: bytes) -> None:
        """More bytes came."""
        *lines, self.rest = (self.rest + data).split(b"\n")
        for line in lines:
            self.logged(line)

    def end(self) -> None:
        """No more bytes come."""
        if self.rest:
            self.logged(self.rest)


@functools.cache
def _device() -> Path:
    """The folder with the compiled device program."""
    files = {path.stem: compile_file(path) for path in sorted(_DEVICE.glob("*.py"))}
    digest = hashlib.sha256(b"".join(files.values())).hexdigest()[:16]
    folder = cache() / f"device-{digest}"
    if not folder.exists():
        part = cache() / f"device-{digest}.{os.getpid()}.{threading.get_ident()}"
        part.mkdir()
        for name, data in files.items():
            (part / f"{name}.mpy").write_bytes(data)
        with contextlib.suppress(OSError):  # another process was quicker
            part.rename(folder)
    return folder
