"""MicroPython's standard modules for firmware that runs on CPython, and for nobody else in the process.

install() puts an import hook before `firstboot`, `umqtt`, `app` and `main`. A module loaded through it gets builtins
of its own, in which `__import__` answers `import socket` (select, time, os, sys, gc), at the top of a file or in a
function, with the facades below. asyncio, aiohttp and the tests keep CPython's modules: neither sys.modules nor any
standard module is changed. A facade hands every name that it does not have itself through to CPython's module.

A test that wants another clock or resolver patches the facade: `monkeypatch.setattr(micro.time, "sleep_ms", ...)`.
"""

import builtins
import errno
import gc as real_gc
import os as real_os
import select as real_select
import socket as real_socket
import ssl
import sys as real_sys
import time as real_time
import traceback
from collections import namedtuple
from importlib.machinery import PathFinder, SourceFileLoader
from types import ModuleType

ROOTS = ("firstboot", "umqtt", "app", "main")
TICKS = 1 << 30  # the period of ticks_ms() on every port
BOTH = real_select.POLLIN | real_select.POLLOUT
# mbedTLS's numbers, which the ports raise as an errno, and its words for OpenSSL's reasons to refuse a certificate.
TLS_EOF, TLS_NO_RECORD, TLS_ALERT, TLS_OTHER = -0x7280, -0x7200, -0x7780, -0x6E00
REFUSALS = {
    9: "The certificate validity starts in the future",
    10: "The certificate validity has expired",
    62: "The certificate Common Name (CN) does not match with the expected CN",
    64: "The certificate Common Name (CN) does not match with the expected CN",
}

Uname = namedtuple("Uname", "sysname nodename release version machine")


class Socket:
    """A socket with MicroPython's stream methods: None, not an exception, where they would block."""

    def __init__(self, family=real_socket.AF_INET, kind=real_socket.SOCK_STREAM, proto=0, real=None):
        self.real = real or real_socket.socket(family, kind, proto)
        self.want = 0  # the direction that TLS waits for, whatever was asked

    def __getattr__(self, name):
        return getattr(self.real, name)  # bind, listen, settimeout, setsockopt, close, ...

    def connect(self, address):
        self._once(self.real.connect, address)

    def accept(self):
        sock, address = self.real.accept()
        return Socket(real=sock), address

    def read(self, size=-1):
        """Up to `size` bytes: all of them unless the stream ends or would block; None when there is nothing yet."""
        data = bytearray()
        while size < 0 or len(data) < size:
            part = self._step(self.real.recv, 65536 if size < 0 else size - len(data))
            if part is None and not data:
                return None
            if not part:
                break
            data += part
        return bytes(data)

    def readinto(self, buffer, size=None):
        data = self.read(len(buffer) if size is None else min(size, len(buffer)))
        if data is not None:
            buffer[: len(data)] = data
        return None if data is None else len(data)

    def readline(self):
        line = bytearray()
        while line[-1:] != b"\n" and (byte := self.read(1)):
            line += byte
        return bytes(line)

    def write(self, data, *span):
        """write(data), write(data, size) or write(data, offset, size), as MicroPython's streams have it."""
        offset, size = (0, len(data)) if not span else (0, *span)[-2:]
        rest = memoryview(data.encode() if isinstance(data, str) else data)[offset : offset + size]
        done = 0
        while done < len(rest):
            n = self._step(self.real.send, rest[done:])
            if n is None:
                return done or None
            done += n
        return done

    def _step(self, call, argument):
        # One system call; None where it would block.
        self.want = 0
        try:
            return self._once(call, argument)
        except BlockingIOError:
            return None
        except ssl.SSLWantReadError:
            self.want = real_select.POLLIN
        except ssl.SSLWantWriteError:
            self.want = real_select.POLLOUT
        except ssl.SSLCertVerificationError as e:
            text = "The certificate is not correctly signed by the trusted CA"
            raise ValueError(REFUSALS.get(e.verify_code, text) + "\n") from None
        except ssl.SSLError as e:
            reason = str(e.reason)
            code = TLS_ALERT if "ALERT" in reason else TLS_NO_RECORD if "VERSION" in reason else TLS_OTHER
            raise OSError(TLS_EOF if isinstance(e, ssl.SSLEOFError) else code, str(e)) from None
        return None

    def _once(self, call, argument):
        try:
            return call(argument)
        except TimeoutError as e:  # of settimeout(): CPython's has no errno
            raise OSError(e.errno or errno.ETIMEDOUT, "ETIMEDOUT") from None


class Poll:
    """select.poll() that speaks of objects, not of descriptors, and knows what TLS holds back."""

    def __init__(self):
        self.objects = {}

    def register(self, thing, mask=BOTH):
        self.objects[id(thing)] = thing, mask

    def modify(self, thing, mask):
        if id(thing) not in self.objects:
            raise OSError(errno.ENOENT, "ENOENT")
        self.register(thing, mask)

    def unregister(self, thing):
        self.objects.pop(id(thing), None)

    def poll(self, timeout=-1):
        system, ready, by_number = real_select.poll(), [], {}
        for thing, mask in self.objects.values():
            real = getattr(thing, "real", thing)
            if mask & real_select.POLLIN and isinstance(real, ssl.SSLSocket) and real.pending():
                ready.append((thing, real_select.POLLIN))
                continue
            # In the middle of a handshake a write may wait for the peer: the direction that TLS wants counts.
            want = getattr(thing, "want", 0) if mask & BOTH else 0
            by_number[real.fileno()] = thing, mask, want
            system.register(real, want or mask)
        for number, flags in system.poll(0 if ready else None if timeout < 0 else timeout):
            thing, mask, want = by_number[number]
            ready.append((thing, flags & ~BOTH | mask & BOTH if flags & want else flags))
        return ready

    def ipoll(self, timeout=-1, flags=0):
        return iter(self.poll(timeout))


class Facade(ModuleType):
    """A module with some names of its own and all others from `real`."""

    def __init__(self, real, **own):
        super().__init__(real.__name__)
        self.__dict__.update(own, real=real)

    def __getattr__(self, name):
        return getattr(self.__dict__["real"], name)


def _getaddrinfo(host, port, family=real_socket.AF_INET, kind=real_socket.SOCK_STREAM, *more):
    return real_socket.getaddrinfo(host, port, family or real_socket.AF_INET, kind, *more)


def _ticks_diff(a, b):
    return (a - b + TICKS // 2) % TICKS - TICKS // 2


def _print_exception(error, file=None):
    traceback.print_exception(type(error), error, error.__traceback__, file=file or real_sys.stdout)


socket = Facade(real_socket, socket=Socket, getaddrinfo=_getaddrinfo)
select = Facade(real_select, poll=Poll)
time = Facade(
    real_time,
    ticks_ms=lambda: real_time.monotonic_ns() // 1_000_000 % TICKS,
    ticks_us=lambda: real_time.monotonic_ns() // 1000 % TICKS,
    ticks_cpu=lambda: real_time.monotonic_ns() % TICKS,
    ticks_add=lambda ticks, delta: (ticks + delta) % TICKS,
    ticks_diff=_ticks_diff,
    sleep_ms=lambda ms: real_time.sleep(max(0, ms) / 1000),
    sleep_us=lambda us: real_time.sleep(max(0, us) / 1_000_000),
)
os = Facade(
    real_os,
    uname=lambda: Uname("esp32", "esp32", "1.26.0", "v1.26.0 on 2025-08-09", "Generic ESP32 module with ESP32"),
)
sys = Facade(real_sys, print_exception=_print_exception)
gc = Facade(
    real_gc,
    collect=lambda: None,  # a real one takes 50 ms under pytest
    mem_alloc=lambda: 40_000,
    mem_free=lambda: 100_000,
    threshold=lambda amount=-1: amount,
)
STANDARD = {"socket": socket, "select": select, "time": time, "os": os, "sys": sys, "gc": gc}


def _import(name, globals=None, locals=None, fromlist=(), level=0):
    if level == 0 and name in STANDARD:
        return STANDARD[name]
    if name == "requests":  # PyPI's, which is another one, is for the tools
        name = "urequests"
    return builtins.__import__(name, globals, locals, fromlist, level)


class _Loader(SourceFileLoader):
    def exec_module(self, module):
        module.__builtins__ = {**vars(builtins), "__import__": _import}
        super().exec_module(module)


class _Finder:
    @staticmethod
    def find_spec(name, path=None, target=None):
        if name.partition(".")[0] not in ROOTS:
            return None
        spec = PathFinder.find_spec(name, path, target)
        if spec and isinstance(spec.loader, SourceFileLoader):
            spec.loader = _Loader(spec.loader.name, spec.loader.path)
        return spec


def install():
    """Firmware that is imported from here on finds MicroPython's modules."""
    if _Finder not in real_sys.meta_path:
        real_sys.meta_path.insert(0, _Finder)


def uninstall():
    """Take the hook out, and forget the firmware that came through it."""
    if _Finder in real_sys.meta_path:
        real_sys.meta_path.remove(_Finder)
    for name in list(real_sys.modules):
        if name.partition(".")[0] in ROOTS:
            del real_sys.modules[name]
