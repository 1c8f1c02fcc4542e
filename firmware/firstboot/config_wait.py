# A config that can't be used: told, blinked, and waited for a better one. MIT licence, (c) 2026 the firstboot authors.

import time
from binascii import crc32
from micropython import const

import machine

from . import errand, log, pause

_FLASH = const(150)  # ms
_TRIES = const(230)  # ten minutes


def wait(path, error):
    """The config in the file `path` is wrong as `error` says: wait for the file to change, and reset.

    In ten minutes at most: where it is a new firmware that can't use the config, a reset brings the old one back.
    """
    log("config: %s %s" % error.args)
    log("config: waiting for %s to change" % path)
    before = _content(path)
    for _ in range(_TRIES):
        if _content(path) != before:
            break
        blink(2)
        pause(2000)
    log("config: starting again")
    errand("board", "reset")


def blink(times):
    """A code on the LED that the port calls "LED": `times` short flashes. Boards without one stay dark."""
    try:
        pin = machine.Pin("LED", machine.Pin.OUT)
    except (TypeError, ValueError):
        return
    for _ in range(times):
        pin.value(1)
        time.sleep_ms(_FLASH)
        pin.value(0)
        time.sleep_ms(_FLASH)


def _content(path):
    try:
        with open(path, "rb") as f:
            return crc32(f.read())
    except (OSError, MemoryError):
        return None
