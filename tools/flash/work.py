"""What is done to one board, step by step; each step leaves a board that the next run can go on with."""

from __future__ import annotations

import contextlib
import hashlib
import re
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from . import chip
from .mask import Mask
from .ports import Port, attached
from .talk import BoardFailed, Facts, Gone, Stopped, Talk

_MPY = 6  # version of the .mpy format; what firstboot ships is 6.3 or older, without native code
_OURS = ("/lib/firstboot", "/lib/umqtt")  # files of an older firstboot are removed here, and nowhere else
_UPDATES = ("/update.json", "/update.part", "/update.0", "/update.1")  # an app from there would win over a flashed one
_LAST = ("/config.json", "/main.py")  # so that a board which was cut off does not start half of it
_DEAF = 5  # s without a word of firstboot's after which the board is started again
_BACK = 15  # s for a port to come back
_TIME = r"^ *\d+\.\d{3} "  # what each line of firstboot's log begins with
_STARTS = 30  # s for a new MicroPython to bring up its port: it formats its file system first
_bootrom = threading.Lock()  # one board at a time: drives don't tell which board they are


@dataclass(frozen=True)
class Plan:
    """What every board is to get. `name`: the template of its name. `mask`: hides what no text may show."""

    files: dict[str, bytes]
    name: str = "{board}-{mac}"
    mask: Mask = field(default_factory=Mask)
    micropython: chip.Image | None = None
    erase: bool = False
    own: Path | None = None  # a folder with a folder for each board, by its name, whose files only it gets
    defaults: tuple[str, ...] = ()  # paths that a board gets only where it has no such file
    needs: dict[str, str] = field(default_factory=dict)  # modules that must be on the board: how they get there
    follow: float = 60  # s until it must have reported to the server; 0: don't wait
    patience: float = 10
    reuse: bool = False  # a board that the ledger knows as done, and that has these files, is left alone

    @property
    def firmware(self) -> str:
        """Digest of the files but the config: its secrets could be guessed from one."""
        digest = hashlib.sha256()
        for path, data in sorted(self.files.items()):
            if path != "/config.json":
                digest.update(f"{path} {hashlib.sha256(data).hexdigest()}\n".encode())
        return digest.hexdigest()[:16]


@dataclass
class Progress:
    """How far a board is: told to `changed` at every step. `at` counts from 0 to 1 within the step."""

    changed: Callable[[str, float], None]

    def step(self, name: str, at: float = 0.0) -> None:
        """The board is at this step."""
        self.changed(name, at)


@dataclass
class Result:
    """What was learnt of a board, step by step, and what came of it."""

    facts: Facts | None = None
    name: str = ""
    copied: int = 0
    provisioned: float = 0.0  # s from reset to the first telemetry that the server acknowledged
    done: str = ""  # "provisioned", "flashed" or "already done"


class Work:
    """One board: `run()` does it all, and raises BoardFailed at the first thing that can't be done."""

    def __init__(
        self,
        port: Port,
        plan: Plan,
        progress: Progress,
        stop: threading.Event,
        known: Callable[[str], dict[str, Any] | None] = lambda uid: None,
    ) -> None:
        self.port = port
        self.plan = plan
        self.progress = progress
        self.stop = stop
        self.known = known
        self.result = Result()

    def run(self) -> Result:
        """Flash, verify, reset, follow."""
        plan = self.plan
        if plan.micropython:
            self._micropython(plan.micropython)
        self.progress.step("connect")
        back = _STARTS if plan.micropython else 0
        with Talk(self.port.device, plan.patience, self.stop).open(back) as talk:
            facts, missing, stale = self._look(talk)
            if plan.reuse and not missing and not stale and self._is_done(talk, facts):
                talk.reset()
                return self._end("already done")
            self._copy(talk, missing, stale)
            self._verify(talk, plan.files)
            self._check_needs(talk)
            self.result.name = self._name(talk)
            self._copy_own(talk)
            began = time.monotonic()
            self.progress.step("reset")
            talk.reset()
            if not plan.follow:
                return self._end("flashed")
            self._follow(talk)
            self.result.provisioned = time.monotonic() - began
            return self._end("provisioned")

    def _look(self, talk: Talk) -> tuple[Facts, list[str], list[str]]:
        # Up to here nothing is changed: a board that is turned down goes on with what it did.
        try:
            facts = self._connect(talk)
            self.progress.step("compare")
            missing, stale = self._differing(talk, self.plan.files), self._stale(talk)
            self._check_room(facts, missing)
            return facts, missing, stale
        except BoardFailed as e:
            if not isinstance(e, Gone):
                with contextlib.suppress(BoardFailed):
                    talk.reset()
            raise

    def _end(self, done: str) -> Result:
        self.result.done = done
        return self.result

    def _micropython(self, image: chip.Image) -> None:
        def progress(at: float) -> None:
            self.progress.step("micropython", at)

        progress(0)
        if self.port.kinds and image.board.name not in self.port.kinds:
            what = " or ".join(self.port.kinds)
            raise BoardFailed(f"{image.path.name} is for {image.mcu.upper()}, and this is {what}", chip.OTHER)
        if image.board.port == "esp32":
            chip.esptool(self.port.device, image, self.plan.erase, progress, self.stop)
            return
        with _bootrom:
            drive = Path(self.port.device)
            ports = {port.device for port in attached()}
            if not self.port.in_boot_rom:
                drive = self._enter_boot_rom(image)
            chip.copy_uf2(drive, image, progress)
            if self.port.in_boot_rom:
                self.port = self._new_port(ports)
            # Once the port is there this board is through, and the next one may look for its drive.
            Talk(self.port.device, self.plan.patience, self.stop).open(_STARTS).close()

    def _enter_boot_rom(self, image: chip.Image) -> Path:
        known = chip.drives()
        with Talk(self.port.device, self.plan.patience, self.stop).open() as talk:
            talk.interrupt()
            image.check(talk.facts().machine)
            talk.reset("machine.bootloader()")
        return chip.wait_for_drive(known, self.stop)

    def _new_port(self, known: set[str]) -> Port:
        end = time.monotonic() + _STARTS
        while time.monotonic() < end:
            new = [port for port in attached() if port.device not in known]
            if new:
                return new[0]
            if self.stop.wait(0.1):
                raise Stopped
        raise BoardFailed(
            "the board took the UF2 file, but no port came up", "plug it in again, and flash it by its port"
        )

    def _connect(self, talk: Talk) -> Facts:
        talk.interrupt()
        facts = self.result.facts = talk.facts()
        hint = "flash a newer one with --micropython FILE"
        if facts.is_too_old:
            raise BoardFailed(f"MicroPython {facts.release} is too old, firstboot needs 1.23", hint)
        if facts.mpy and facts.mpy & 0xFF != _MPY and any(path.endswith(".mpy") for path in self.plan.files):
            raise BoardFailed(
                f"MicroPython {facts.release} takes .mpy files of another format", "copy sources with --source"
            )
        if self.plan.micropython:
            self.plan.micropython.check(facts.machine)
        return facts

    def _differing(self, talk: Talk, files: dict[str, bytes]) -> list[str]:
        """Those of the files that the board lacks or has otherwise, in the order in which to copy them."""
        there = talk.hashes(list(files))
        missing = [
            path
            for path in files
            if there.get(path) != hashlib.sha256(files[path]).hexdigest()
            and not (path in there and path in self.plan.defaults)
        ]
        return sorted(missing, key=lambda path: (_LAST.index(path) if path in _LAST else -1, path))

    def _stale(self, talk: Talk) -> list[str]:
        # Files of an older firstboot: a .py would win over the .mpy beside it.
        places: tuple[str, ...] = _OURS if self._has_firmware() else ()
        if "/app.py" in self.plan.files and "/app.py" not in self.plan.defaults:
            places += _UPDATES
        return [path for path in talk.files(list(places)) if path not in self.plan.files]

    def _has_firmware(self) -> bool:
        return any(path.startswith(_OURS[0]) for path in self.plan.files)

    def _is_done(self, talk: Talk, facts: Facts) -> bool:
        entry = self.known(facts.uid)
        if not entry or entry["result"] not in ("provisioned", "already done"):
            return False
        self.result.name = entry["name"]
        return entry["firmware"] == self.plan.firmware and not self._differing(talk, self._own(entry["name"]))

    def _check_room(self, facts: Facts, missing: list[str]) -> None:
        # Files that are replaced give room back, but only afterwards: littlefs writes the new one first.
        need = sum(-(-len(self.plan.files[path]) // facts.block) * facts.block for path in missing)
        if need > facts.free:
            raise BoardFailed(
                f"{need // 1024} KiB are to be written, and {facts.free // 1024} KiB are free on the board",
                "remove files from it (mpremote fs rm), or freeze firstboot into MicroPython",
            )

    def _copy(self, talk: Talk, missing: list[str], stale: list[str]) -> None:
        for path in stale:
            talk.remove(path)
        files = self.plan.files
        total = sum(len(files[path]) for path in missing) or 1
        before = 0

        def wrote(done: int) -> None:
            self.progress.step("copy", (before + done) / total)

        for path in missing:
            talk.write(path, files[path], wrote)
            before += len(files[path])
            self.result.copied += 1

    def _check_needs(self, talk: Talk) -> None:
        for module, hint in self.plan.needs.items():
            found = f"try:\n import {module}\n print(1)\nexcept ImportError:\n print(0)"
            if talk.exec(found).strip() != "1":
                raise BoardFailed(f"the board has no {module}, which the config needs", hint)

    def _copy_own(self, talk: Talk) -> None:
        if not self.plan.own:
            return
        self.progress.step("own files")
        name, files = self.result.name, self._own(self.result.name)
        if not files:
            raise BoardFailed(f"there is no {self.plan.own / name} for this board", f"firstboot keys issue ... {name}")
        for path in self._differing(talk, files):
            talk.write(path, files[path])
            self.result.copied += 1
        self._verify(talk, files)

    def _own(self, name: str) -> dict[str, bytes]:
        folder = self.plan.own / name if self.plan.own and name else None
        if folder is None or not folder.is_dir():
            return {}
        return {f"/{path.name}": path.read_bytes() for path in sorted(folder.iterdir()) if path.suffix != ".pem"}

    def _verify(self, talk: Talk, files: dict[str, bytes]) -> None:
        self.progress.step("verify")
        missing = self._differing(talk, files)
        if not missing:
            return
        # A serial line has no checksum: one more try, then it is the board's or the cable's fault.
        self.progress.step("repair")
        for path in missing:
            talk.write(path, files[path])
        self.progress.step("verify")
        missing = self._differing(talk, files)
        if missing:
            raise BoardFailed(
                f"verify: {', '.join(missing[:3])} came out different", "try another cable; else its flash is bad"
            )

    def _name(self, talk: Talk) -> str:
        try:
            return talk.name(self.plan.name)
        except BoardFailed as e:
            if isinstance(e, Gone) or self._has_firmware():
                raise
            raise BoardFailed(f"firstboot is not frozen into this MicroPython: {e}", "leave --frozen away") from e

    def _follow(self, talk: Talk) -> None:
        self.progress.step("follow")
        log, end = Log(), time.monotonic() + self.plan.follow
        while (left := end - time.monotonic()) > 0:
            try:
                self._listen(talk, log, min(left, _DEAF))
                if not log.heard:
                    # Its first words were spoken before the port was back. A soft reset keeps the port.
                    talk.restart()
            except BoardFailed:
                # Where the chip is the USB device itself, the port goes with a reset, and comes back.
                talk.close()
                talk.open(wait=min(left, _BACK))
            if log.refused:
                raise BoardFailed(
                    f"the board refuses its config: {self.plan.mask(log.refused)}", "mend it: firstboot config check"
                )
            if log.broken:
                raise BoardFailed(
                    f"flashed, but the board says: {log.broken}",
                    "mend app.py: `firstboot monitor --restart` shows where",
                )
            if log.sending:
                return
        raise BoardFailed(
            f"flashed, but it did not reach the server within {self.plan.follow:g} s; it last said: "
            f"{self.plan.mask(log.last) or 'nothing'}",
            "it keeps trying by itself; `firstboot monitor` shows how",
        )

    def _listen(self, talk: Talk, log: Log, seconds: float) -> None:
        for line in talk.lines(seconds):
            log.take(line)
            if log.verified:
                self.progress.step("follow", 0.5)
            if log.sending or log.refused or log.broken:
                return


class Log:
    """What the log of a board that starts has told so far."""

    def __init__(self) -> None:
        self.heard = self.verified = self.sending = False
        self.last = self.refused = self.broken = self._config = ""

    def take(self, line: str) -> None:
        """One line more; an empty one says nothing."""
        text = re.sub(_TIME, "", line).strip()
        self.last = text or self.last
        self.heard |= text != line.strip()  # the end of a line that began before the port was open tells nothing
        self.verified |= text.startswith("identity: verified")
        self.sending |= text.startswith(("telemetry: acknowledged", "outbox: empty"))
        if text.startswith(("app: can't be imported", "app: read() failed")):
            self.broken = text
        if text.startswith("config: waiting for"):
            self.refused = self._config or text
        elif text.startswith("config:"):
            self._config = text.removeprefix("config: ")
