# The board's console, where a cable is plugged in: boot.py and main.py run, then MicroPython's REPL waits: friendly
# (the basics), raw and raw-paste, with the bytes that py/pyexec and shared/runtime/pyexec of the ports exchange.
#
# Input comes through a terminal of the kernel's, so that Ctrl-C raises KeyboardInterrupt while code runs, wherever
# it waits, and is a plain byte while the REPL reads. Output is a pipe; the host adds the carriage returns.

import gc
import io
import micropython
import sys
import termios

import ffi
import machine

_libc = ffi.open("libc.so.6")
_read = _libc.func("i", "read", "ipi")
_ioctl = _libc.func("i", "ioctl", "iii")

_TIOCSCTTY = 0x540E
_SIGNALS = 0x01 | 0x80  # ISIG | NOFLSH
_WINDOW = 128  # half of the ports' receive buffer

_out = sys.stdout.buffer.write


class Console:
    def __init__(self, machine_name, tell):
        self.machine_name = machine_name
        self.tell = tell
        self.names = {"__name__": "__main__"}
        self.buffer = bytearray(256)
        self.start = self.end = 0
        self.terminal = termios.tcgetattr(0)
        micropython.kbd_intr(3)
        _ioctl(0, _TIOCSCTTY, 0)  # Ctrl-C goes to the session that this terminal controls

    def live(self, raw):
        # Never returns: a board does not end, it is reset.
        for name in ("/boot.py",) if raw else ("/boot.py", "/main.py"):
            try:
                with open(name) as f:
                    source = f.read()
            except OSError:
                continue
            self._run(source, name, "exec")
        if not raw:
            gc.collect()
            self.tell(idle=gc.mem_alloc())
        while True:
            try:
                if raw:
                    self._raw()
                else:
                    self._friendly()
                raw = not raw
            except KeyboardInterrupt:
                pass  # it came as the program ended

    def _raw(self):
        banner = b"raw REPL; CTRL-B to exit\r\n>"
        _out(banner)
        line = bytearray()
        while True:
            c = self._byte()
            if c == 1 and len(line) == 2 and line[0] == 5:
                if line[1] == 65:  # "A"
                    self._paste()
                else:
                    _out(b"R\x00")
                _out(b">")
            elif c == 1:
                _out(banner)
            elif c == 2:
                _out(b"\r\n")
                return
            elif c == 4:
                _out(b"OK")
                if not line:
                    _out(b"\r\n")
                    self._reboot(True)
                self._run(bytes(line), "<stdin>", "exec", b"\x04", True)
                _out(b">")
            elif c != 3:
                line.append(c)
                continue
            line = bytearray()

    def _paste(self):
        # The host may send a window's bytes more for each \x01; Ctrl-D ends, and is acknowledged.
        _out(b"R\x01" + bytes((_WINDOW, 0)) + b"\x01")
        parts = []
        room = _WINDOW
        while True:
            data = self._some(room)
            ends = [at for at in (data.find(b"\x03"), data.find(b"\x04")) if at >= 0]
            if ends:
                break
            parts.append(data)
            room -= len(data)
            if not room:
                _out(b"\x01")
                room = _WINDOW
        at = min(ends)
        self.start -= len(data) - at - 1
        parts.append(data[:at])
        _out(b"\x04")
        source = b"raise KeyboardInterrupt" if data[at] == 3 else b"".join(parts)
        parts = None
        self._run(source, "<stdin>", "exec", b"\x04", True)

    def _friendly(self):
        self._greet()
        lines = []
        while True:
            _out(b"... " if lines else b">>> ")
            text, c = self._line()
            _out(b"\r\n")
            if c == 1:
                return
            if c == 2:
                self._greet()
            elif c == 3:
                lines = []
            elif c == 4:
                self._reboot(False)
            elif c == 5:
                self._block()
            else:
                lines.append(text)
                # A block goes on until an empty line; a line without a block is run as it is.
                if (len(lines) > 1 and text) or text.rstrip().endswith(":"):
                    continue
                source = "\n".join(lines)
                lines = []
                if source:
                    self._run(source + "\n", "<stdin>", "single")

    def _greet(self):
        _out(sys.version.split("; ")[-1].encode() + b"; " + self.machine_name.encode())
        _out(b'\r\nType "help()" for more information.\r\n')

    def _line(self):
        # A line typed, and the byte that ended it: Enter, or Ctrl-A to E where they mean something.
        text = ""
        while True:
            c = self._byte()
            if c == 13 or c == 3 or (c <= 5 and not text):
                return text, c
            if c in (8, 127):
                if text:
                    text = text[:-1]
                    _out(b"\x08 \x08")
            elif c >= 32 or c == 9:
                text += chr(c)
                _out(bytes((c,)))

    def _block(self):
        _out(b"\r\npaste mode; Ctrl-C to cancel, Ctrl-D to finish\r\n=== ")
        text = b""
        while True:
            c = self._byte()
            if c == 3:
                return _out(b"\r\n")
            if c == 4:
                _out(b"\r\n")
                return self._run(text, "<stdin>", "exec")
            text += b"\n" if c == 13 else bytes((c,))
            _out(b"\r\n=== " if c == 13 else bytes((c,)))

    def _run(self, source, name, kind, eof=b"", raw=False):
        # Run code with Ctrl-C on. `eof` tells a program at the other end where output and error end.
        try:
            code = compile(source, name, kind)
            try:
                self._signals(_SIGNALS)
                exec(code, self.names)
            finally:
                self._signals(0)
            _out(eof)
        except SystemExit:
            _out(eof + eof)
            self._reboot(raw)
        except BaseException as e:  # noqa: BLE001 - a REPL shows whatever was raised
            _out(eof)
            text = io.StringIO()
            sys.print_exception(e, text)
            for line in text.getvalue().split("\n"):
                if line and not line.startswith('  File "repl"'):  # the ports' REPL is not Python
                    _out(line.encode() + b"\n")
        _out(eof)

    def _reboot(self, raw):
        _out(b"MPY: soft reboot\r\n")
        machine.restart(raw)

    def _signals(self, flags):
        self.terminal[3] = flags
        termios.tcsetattr(0, termios.TCSANOW, self.terminal)

    def _byte(self):
        return self._some(1)[0]

    def _some(self, most):
        # Up to `most` bytes, and at least one.
        while self.start == self.end:
            self.start = 0
            self.end = max(_read(0, self.buffer, 256), 0)
            if not self.end:
                machine.power_off()
        data = bytes(self.buffer[self.start : min(self.end, self.start + most)])
        self.start += len(data)
        return data
