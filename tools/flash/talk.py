"""Talk to one board's MicroPython through mpremote, with a deadline on every wait and errors that say what to do."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import struct
import termios
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import serial
from mpremote import transport_serial
from mpremote.transport import TransportError, TransportExecError

from ..places import OLDEST_MICROPYTHON

# mpremote prints what it read from a board that it does not understand. The terminal is no place for that.
transport_serial.print = lambda *_: None  # type: ignore[attr-defined]

_CHUNK = 1024  # bytes of a file in one command
_SILENT = (
    "is another program talking to it, or is it not MicroPython? Press its reset button; --micropython FILE flashes it"
)

# Run on the board. `dog` is firstboot's watchdog where it runs one: it can't be stopped, so it is fed from here.
_FACTS = """
import sys, os
dog = getattr(sys.modules.get("firstboot"), "watchdog", None)
def facts():
    import machine
    from binascii import hexlify
    s = os.statvfs("/")
    u = os.uname()
    v = sys.implementation
    mpy = getattr(v, "_mpy", 0)
    uid = hexlify(machine.unique_id()).decode()
    return (u[4], tuple(v[1][:3]), mpy, uid, s[0], s[0] * s[3], bool(dog))
"""
_HASHES = """
def hashes(paths):
    from hashlib import sha256
    from binascii import hexlify
    buffer = memoryview(bytearray(512))
    for path in paths:
        try:
            h = sha256()
            with open(path, "rb") as f:
                while True:
                    n = f.readinto(buffer)
                    if not n:
                        break
                    h.update(buffer[:n])
            print(hexlify(h.digest()).decode())
        except OSError:
            print("-")
        dog and dog.feed()
"""
_TREE = """
import json
def tree(path):
    try:
        entries = list(os.ilistdir(path))
    except OSError:
        entries = []
        try:
            os.stat(path)
            print(json.dumps(path))  # a file
        except OSError:
            pass
    for e in entries:
        if e[1] == 0x4000:
            tree(path + "/" + e[0])
        else:
            print(json.dumps(path + "/" + e[0]))
"""


class BoardFailed(Exception):
    """A board can't be served: what is wrong, and what to do about it."""

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.hint = hint


class Gone(BoardFailed):
    """The port vanished: a cable was pulled, or the chip that is the USB device itself was reset.

    After a reset it may be back before anybody looks.
    """


class Stopped(Exception):
    """The user wants to stop."""


@dataclass(frozen=True)
class Facts:
    """What a board says of itself."""

    machine: str
    micropython: tuple[int, int, int]
    mpy: int
    uid: str
    block: int
    free: int
    watched: bool

    @property
    def release(self) -> str:
        """MicroPython's, such as "1.26.1"."""
        return ".".join(map(str, self.micropython))

    @property
    def is_too_old(self) -> bool:
        """Whether firstboot does not run on this MicroPython."""
        return self.micropython < OLDEST_MICROPYTHON


class Talk:
    """A connection to the board at `port`. `patience`: seconds that the board may take for an answer.

    `stop`: set by another thread to give up at the next wait (Stopped).
    """

    def __init__(self, port: str, patience: float = 10, stop: threading.Event | None = None) -> None:
        self.port = port
        self.patience = patience
        self.stop = stop or threading.Event()
        self.watched = False
        self._transport: Any = None
        self._line: _Bounded | None = None
        self._rest = b""
        self._made: set[str] = set()  # folders that are there

    def open(self, wait: float = 0) -> Talk:
        """Open the port; for `wait` seconds it may still be missing or busy. BoardFailed."""
        end = time.monotonic() + wait
        while True:
            try:
                return self._open()
            except BoardFailed:
                if time.monotonic() > end:
                    raise
                self._pause(0.05)

    def close(self) -> None:
        """Close the port, whatever its state."""
        if self._transport:
            with contextlib.suppress(OSError, termios.error, TypeError):
                self._transport.close()
        self._transport = None

    def __enter__(self) -> Talk:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def interrupt(self) -> None:
        """Stop what runs on the board, and take its raw REPL."""
        end = time.monotonic() + self.patience
        while True:
            # A board that is just starting does not hear the first Ctrl-C.
            try:
                with self._told(2):
                    self._serial.timeout = 0.5
                    self._transport.enter_raw_repl(soft_reset=False, timeout_overall=1)
                    self._serial.timeout = self.patience
                return
            except BoardFailed as e:
                if time.monotonic() > end or not os.path.exists(self.port):
                    raise e if not os.path.exists(self.port) else self._silent() from e

    def facts(self) -> Facts:
        """Ask the board what it is; its own program is out of the way afterwards."""
        self.exec(_FACTS)
        machine, micropython, *rest = self.eval("facts()")
        facts = Facts(machine, tuple(micropython), *rest)
        self.watched = facts.watched
        if not self.watched:
            # What ran before holds memory. With a watchdog it must not go: only its object can feed it.
            with self._told():
                self._transport.enter_raw_repl(soft_reset=True, timeout_overall=self.patience)
            self.exec(_FACTS)
        return facts

    def hashes(self, paths: list[str]) -> dict[str, str]:
        """SHA-256 in hex of those of the files that the board has."""
        self.exec(_HASHES)
        found: dict[str, str] = {}
        for at in range(0, len(paths), 16):
            some = paths[at : at + 16]
            lines = self.exec(f"hashes({some!r})").split()
            if len(lines) != len(some):
                raise self._silent()
            found.update((path, digest) for path, digest in zip(some, lines, strict=True) if digest != "-")
        return found

    def files(self, folders: list[str]) -> list[str]:
        """Every file below the folders, and those of them that are files themselves."""
        self.exec(_TREE)
        lines = [line for folder in folders for line in self.exec(f"tree({folder!r})").splitlines()]
        with self._told():
            return [json.loads(line) for line in lines]

    def read(self, path: str) -> bytes:
        """A file's content; FileNotFoundError."""
        with self._told(), self._board_errors(path):
            return bytes(self._transport.fs_readfile(path, chunk_size=_CHUNK))

    def write(self, path: str, data: bytes, progress: Callable[[int], None] = lambda _: None) -> None:
        """Write a file, and the folders above it; `progress` is told the bytes written so far."""
        folders = path.split("/")[1:-1]
        for depth in range(len(folders)):
            folder = "/" + "/".join(folders[: depth + 1])
            if folder not in self._made:
                self.exec(f"try:\n os.mkdir({folder!r})\nexcept OSError:\n pass")
                self._made.add(folder)

        def wrote(done: int, _: int) -> None:
            self._extend()
            if self.watched:
                self._transport.exec("dog.feed()")
            progress(done)

        with self._told(), self._board_errors(path):
            self._transport.fs_writefile(path, data, chunk_size=_CHUNK, progress_callback=wrote)

    def remove(self, path: str) -> None:
        """Remove a file."""
        with self._told(), self._board_errors(path):
            self._transport.fs_rmfile(path)

    def name(self, template: str) -> str:
        """The name by which the board will introduce itself."""
        return str(self.eval(f"__import__('firstboot.board', None, None, ('name',)).name({template!r})"))

    def exec(self, code: str) -> str:
        """Run code on the board, and return what it printed."""
        with self._told():
            return str(self._transport.exec(code).decode())

    def eval(self, expression: str) -> Any:
        """The value of an expression on the board, as far as JSON has it.

        mpremote's own eval() is for one thread: CPython 3.11 fails where two parse at once ("AST constructor recursion
        depth mismatch"), and a box of boards has a thread for each.
        """
        with self._told():
            return json.loads(self._transport.exec(f"import json\nprint(json.dumps({expression}))"))

    def reset(self, command: str = "machine.reset()") -> None:
        """Have the board reset itself, as at power-up."""
        # Where the chip is the USB device, the port goes with it, at times before the answer.
        with contextlib.suppress(Gone), self._told():
            self._transport.exec_raw_no_follow(f"import machine, time\ntime.sleep_ms(50)\n{command}")
        self._rest = b""

    def restart(self) -> None:
        """Run the board's program anew by a soft reset, which keeps the port."""
        self.interrupt()
        with self._told():
            self._transport.exit_raw_repl()
            self._serial.write(b"\x04")
            # What the REPL says until then is no log.
            self._transport.read_until(1, b"soft reboot\r\n", timeout_overall=2)

    def lines(self, seconds: float) -> Iterator[str]:
        """What the board logs, a line at a time, for so many seconds. An empty line now and then says that it is quiet.

        BoardFailed when the port is gone.
        """
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            with self._told(left + 1):
                self._serial.timeout = 0.1
                self._rest += self._serial.read(max(self._serial.inWaiting(), 1))
            *lines, self._rest = self._rest.split(b"\n")
            for line in lines:
                yield line.decode(errors="replace").rstrip()
            if not lines:
                yield ""

    @property
    def _serial(self) -> _Bounded:
        assert self._line is not None
        return self._line

    def _open(self) -> Talk:
        path = os.path.realpath(self.port)
        try:
            self._transport = transport_serial.SerialTransport(path, timeout=self.patience)
        except (TransportError, termios.error, ValueError) as e:
            raise _cannot_open(self.port) from e
        if os.path.realpath(self.port) != path:
            # The board went while its port was opened, and another one may have come there.
            self.close()
            raise _why(self.port, OSError(errno.ENOENT, ""))
        self._transport.serial.write_timeout = self.patience
        self._line = self._transport.serial = _Bounded(self._transport.serial, self.stop)
        self._extend()
        return self

    def _extend(self) -> None:
        self._serial.end = time.monotonic() + self.patience

    def _pause(self, seconds: float) -> None:
        if self.stop.wait(seconds):
            raise Stopped

    def _silent(self) -> BoardFailed:
        return BoardFailed("the board does not answer as MicroPython does", _SILENT)

    @contextlib.contextmanager
    def _told(self, seconds: float | None = None) -> Iterator[None]:
        # One exchange with the board, within `seconds`; what can go wrong with it, in the user's words.
        self._serial.end = time.monotonic() + (seconds or self.patience)
        try:
            yield
        except TransportExecError as e:
            said = e.error_output.strip().splitlines()
            raise BoardFailed(f"the board's code failed: {said[-1] if said else '?'}", "reset it and try again") from e
        except FileNotFoundError:
            raise
        except (serial.SerialTimeoutException, TransportError, struct.error, UnicodeDecodeError, SyntaxError) as e:
            raise self._silent() from e
        except (OSError, termios.error, TypeError) as e:
            if os.path.exists(self.port):
                raise Gone("the connection broke off", "check cable and USB hub, and run the command again") from e
            raise Gone("the board is gone: its cable was pulled", "plug it in and run the command again") from e
        except ValueError as e:
            raise self._silent() from e

    @contextlib.contextmanager
    def _board_errors(self, path: str) -> Iterator[None]:
        # OSErrors that mpremote brings from the board's file system.
        try:
            yield
        except OSError as e:
            if e.errno == errno.ENOSPC:
                raise BoardFailed(
                    f"the board's file system is full at {path}", "remove files that are not needed"
                ) from e
            if e.errno == errno.ENOENT:
                raise FileNotFoundError(e.errno, "is not on the board", path) from e
            raise


class _Bounded:
    """A serial port that gives up at a moment: mpremote has waits without an end. mpremote meets it as its own."""

    def __init__(self, port: Any, stop: threading.Event) -> None:
        self._port = port
        self._stop = stop
        self.end = 0.0

    def read(self, size: int = 1) -> bytes:
        self._check()
        return bytes(self._port.read(size))

    def write(self, data: bytes) -> int:
        self._check()
        return int(self._port.write(data))

    def inWaiting(self) -> int:  # noqa: N802 - pyserial's name
        self._check()
        return int(self._port.in_waiting)

    def close(self) -> None:
        self._port.close()

    @property
    def timeout(self) -> float:
        return float(self._port.timeout)

    @timeout.setter
    def timeout(self, seconds: float) -> None:
        if seconds != self._port.timeout:
            self._port.timeout = seconds

    def __setattr__(self, name: str, value: Any) -> None:
        if name in ("rts", "dtr"):
            setattr(self._port, name, value)
        else:
            object.__setattr__(self, name, value)

    def _check(self) -> None:
        if self._stop.is_set():
            raise Stopped
        if time.monotonic() > self.end:
            raise TransportError("no answer in time")


def _cannot_open(port: str) -> BoardFailed:
    # mpremote does not tell why.
    try:
        number = os.open(port, os.O_RDWR | os.O_NOCTTY | os.O_NONBLOCK)
    except OSError as e:
        return _why(port, e)
    is_terminal = os.isatty(number)
    os.close(number)
    if not is_terminal:
        return BoardFailed(f"{port} is no serial port", "`firstboot doctor` lists those that there are")
    return _why(port, OSError(errno.EBUSY, ""))


def _why(port: str, error: OSError) -> BoardFailed:
    if error.errno in (errno.EACCES, errno.EPERM):
        return BoardFailed(f"no permission to open {port}", "sudo usermod -aG dialout $USER, then log out and in again")
    if error.errno == errno.EBUSY:
        return BoardFailed(f"{port} is busy", "close the other program that has it open (a terminal, an IDE, mpremote)")
    if error.errno in (errno.ENOENT, errno.ENODEV, errno.ENXIO):
        return Gone(f"{port} is gone: its cable was pulled", "plug it in and run the command again")
    return BoardFailed(f"{port} can't be opened: {error.strerror}", "plug it out and in again")
