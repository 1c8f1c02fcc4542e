"""The USB cable between a virtual board's console and a host program: a pty, and what can go wrong with a cable."""

from __future__ import annotations

import contextlib
import os
import pty
import select
import termios
import threading
import tty
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

_ROOM = 64 * 1024  # bytes in flight to a host program that reads slowly; then the board waits
_TICK = 0.02  # s between two looks whether a host program has opened the port
_IFLAG, _OFLAG, _LFLAG, _CC = 0, 1, 3, 6


@dataclass
class CableFault:
    """What goes wrong with a cable once `after` bytes have gone from the host to the board.

    `what`: "unplug": the port is gone and the power with it; "hang": nothing goes either way any more; "garbage":
    the board's answers come as noise; "flip": wherever `word` comes by, the board gets its last byte changed, up to
    `times` times.
    """

    what: str
    after: int = 0
    word: bytes = b"firstboot"
    times: int = 1 << 30


class Cable:
    """A pty at whose end `path` a host program speaks to the board; `path` is a link that survives re-plugging.

    `native`: the chip itself is the USB device (RP2), so that the port vanishes at a reset and comes back; else a
    bridge chip keeps it (ESP32).
    """

    def __init__(self, link: Path, native: bool) -> None:
        self.link = link
        self.native = native
        self.fault: CableFault | None = None
        self.carried = 0
        self._host = -1
        self._open = False
        self._to_host = bytearray()
        self._to_board = bytearray()
        self._lock = threading.Lock()
        self._wake = os.pipe()

    @property
    def path(self) -> str:
        """The path of the port."""
        return str(self.link)

    @property
    def is_open(self) -> bool:
        """Whether some host program has the port open."""
        return self._open

    def plug(self) -> None:
        """Make the port appear; it stays until unplug()."""
        with self._lock:
            if self._host >= 0:
                return
            self._host, end = pty.openpty()
            tty.setraw(end)
            part = self.link.with_name(self.link.name + ".part")
            part.unlink(missing_ok=True)
            part.symlink_to(os.ttyname(end))
            part.replace(self.link)
            os.close(end)  # from here on the kernel tells whether some program has it open
            os.set_blocking(self._host, False)
            self._to_host.clear()

    def unplug(self) -> None:
        """Make the port vanish under whoever has it open."""
        with self._lock:
            if self._host >= 0:
                self.link.unlink(missing_ok=True)  # first: once closed, the pty's number may be another cable's
                os.close(self._host)
                self._host = -1
        os.write(self._wake[1], b"!")

    def close(self) -> None:
        """Unplug for good."""
        self.unplug()
        for end in self._wake:
            os.close(end)

    def carry(self, console: int, output: int, logged: Callable[[bytes], None], unplugged: Callable[[], None]) -> None:
        """Carry bytes for one boot of the board, until it closes `output`: from there to the host program and to
        `logged`, and from the host program to `console`. `unplugged` is called where the cable's fault is that."""
        self._to_board.clear()
        last = 0
        while True:
            self._look()
            poll = select.poll()
            poll.register(self._wake[0], select.POLLIN)
            if len(self._to_host) < _ROOM or not self._open:
                poll.register(output, select.POLLIN)
            if self._to_board:
                poll.register(console, select.POLLOUT)
            if self._open:
                wanted = (0 if self._to_board else select.POLLIN) | (select.POLLOUT if self._to_host else 0)
                poll.register(self._host, wanted)
            ready = dict(poll.poll(None if self._open else _TICK * 1000))
            if self._wake[0] in ready:
                os.read(self._wake[0], 64)
            if ready.get(output):
                data = os.read(output, 4096)
                if not data:
                    self._flush()
                    return
                logged(data)
                last = self._from_board(data, last)
            if ready.get(console, 0) & select.POLLOUT:
                with contextlib.suppress(BlockingIOError):
                    del self._to_board[: os.write(console, self._to_board)]
            self._exchange()
            if self._is_fault("unplug"):
                self.unplug()
                self.fault = None
                unplugged()

    def _look(self) -> None:
        # No program has the port open: what the board says is said to nobody.
        with self._lock:
            poll = select.poll()
            self._open = self._host >= 0
            if self._open:
                poll.register(self._host, 0)
                self._open = not any(event & select.POLLHUP for _, event in poll.poll(0))
            if not self._open:
                self._to_host.clear()

    def _from_board(self, data: bytes, last: int) -> int:
        # The ports' consoles send \r\n for \n.
        if self._open and not self._is_fault("hang"):
            noise = self._is_fault("garbage")
            for byte in data:
                if byte == 10 and last != 13:
                    self._to_host.append(13)
                self._to_host.append(byte * 7 % 251 | 128 if noise else byte)
                last = byte
        return last

    def _exchange(self) -> None:
        # The host may have unplugged the board while poll() waited.
        with self._lock:
            if self._host < 0 or not self._open:
                return
            with contextlib.suppress(BlockingIOError, OSError):
                if self._to_host:
                    del self._to_host[: os.write(self._host, self._to_host)]
            with contextlib.suppress(BlockingIOError, OSError):
                if not self._to_board:
                    self._to_board += self._from_host(os.read(self._host, 1024))

    def _from_host(self, data: bytes) -> bytes:
        self.carried += len(data)
        if self._is_fault("hang"):
            return b""
        if self.fault and self._is_fault("flip"):
            word, left = self.fault.word, self.fault.times
            self.fault.times -= min(left, data.count(word))
            return data.replace(word, word[:-1] + bytes((word[-1] ^ 1,)), left)
        return data

    def _flush(self) -> None:
        # What the board said last, as far as the host program takes it at once.
        for _ in range(50):
            self._look()
            if not self._to_host:
                return
            self._exchange()
            threading.Event().wait(_TICK)

    def _is_fault(self, what: str) -> bool:
        return self.fault is not None and self.fault.what == what and self.carried >= self.fault.after


def terminal() -> tuple[int, int]:
    """A terminal for one boot's console: (host's end, board's end). Ctrl-C is a byte until the board says otherwise."""
    master, board = pty.openpty()
    attributes = termios.tcgetattr(board)
    attributes[_IFLAG] = attributes[_OFLAG] = attributes[_LFLAG] = 0
    for key in (termios.VQUIT, termios.VSUSP):
        attributes[_CC][key] = b"\0"  # type: ignore[index]
    attributes[_CC][termios.VINTR] = b"\x03"  # type: ignore[index]
    attributes[_CC][termios.VMIN] = 1  # type: ignore[index]
    attributes[_CC][termios.VTIME] = 0  # type: ignore[index]
    termios.tcsetattr(board, termios.TCSANOW, attributes)
    os.set_blocking(master, False)
    return master, board
