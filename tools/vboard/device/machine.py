# The port's `machine`, as far as firmware of this kind needs it.

import array
import sys
import time

import ffi

libc = ffi.open("libc.so.6")
_exit = libc.func("v", "_exit", "i")
_setitimer = libc.func("i", "setitimer", "ipp")

# The host reads these exit codes: 64 + reset cause, 80 + the REPL to come back to, or the power is gone.
_RESET = 64
_SOFT = 80
_POWER_OFF = 63
_BOOT_ROM = 62

console = False  # a REPL is there to take soft_reset()'s SystemExit, as on the ports


def start(spec, tell, flash):
    global _flash, _spec, _tell
    _spec = spec
    _tell = tell
    _flash = flash
    for name in spec["causes"]:
        setattr(sys.modules["machine"], name, spec["causes"][name])  # interned here, as the port has it in ROM
    if spec["watchdog"]:
        WDT(timeout=spec["watchdog"])  # a soft reset does not stop it


def power_off():
    _exit(_POWER_OFF)


def unique_id():
    return bytes(_spec["uid"])


def reset():
    _leave(_RESET + _spec["causes"][_spec["after_reset"]])


def soft_reset():
    if console:
        raise SystemExit
    restart(False)


def bootloader(timeout=0):
    if _spec["uf2_drive"] is None:
        raise RuntimeError("no UF2 boot ROM")  # the ESP32 goes there by its BOOT pin only
    _exit(_BOOT_ROM)


def restart(raw):
    _leave(_SOFT + raw)


def _leave(code):
    # A power cut counts on from here in the next boot.
    _tell(operations=_flash.operations)
    _exit(code)


def reset_cause():
    return _spec["cause"]


def freq(value=None):
    return 160000000


def idle():
    time.sleep_ms(1)


class RTC:
    def datetime(self, t=None):
        import time  # the firmware's, which may be vtime

        if t is None:
            t = time.gmtime()
            return t[:3] + (t[6],) + t[3:6] + (0,)
        _tell(rtc=t)
        if _spec["clock"] == "unset":
            time.set_date(*t[:3], *t[4:7])


class WDT:
    # Not fed in time, the kernel's alarm ends the VM, wherever it hangs.
    def __init__(self, id=0, timeout=5000):
        if timeout > _spec["watchdog_most"]:
            raise ValueError("timeout exceeds %d" % _spec["watchdog_most"])
        _tell(watchdog=timeout)
        self._timer = array.array("l", (0, 0, timeout // 1000, timeout % 1000 * 1000))
        self.feed()

    def feed(self):
        _setitimer(0, self._timer, None)


class Pin:
    IN = 0
    OUT = 1
    PULL_UP = 1

    def __init__(self, id, mode=IN, pull=None, value=0):
        if isinstance(id, str) and id != _spec["led"]:
            raise ValueError('unknown named pin "%s"' % id)
        self.id = id
        self._value = value

    def value(self, value=None):
        if value is None:
            return self._value
        if value != self._value:
            _tell(pin=self.id, value=int(value))
        self._value = int(value)

    __call__ = value

    def on(self):
        self.value(1)

    def off(self):
        self.value(0)

    def toggle(self):
        self.value(not self._value)
