# All that differs from port to port. MIT licence, (c) 2026 the firstboot authors.

import os
import time
from micropython import const

import machine

_STEP = const(1000)  # ms between two feedings of the watchdog
_FLASH = const(150)  # ms

_wdt = None


def names():
    """What a device name's template may hold: {board}, {mac}, {uid}; upper-case kind, lower-case hex."""
    from binascii import hexlify

    uid = hexlify(machine.unique_id()).decode()
    try:
        import network

        # The radio's own address: the RP2's unique_id() is its flash chip's, and tells no MAC.
        mac = hexlify(network.WLAN(network.STA_IF).config("mac")).decode()
    except (ImportError, OSError):
        mac = uid
    return {"{board}": kind(), "{mac}": mac, "{uid}": uid}


def kind():
    """The chip by name, "ESP32" or "RP2040": what the port says of its machine, after the last "with"."""
    return os.uname()[4].split(" with ")[-1].upper()


def slots():
    """Where the identity is kept: two files, and on ESP32 a copy in NVS.

    NVS is a partition of its own: it survives a file system that was erased or formatted anew.
    """
    from .store import FileSlot

    files = [FileSlot("identity.0"), FileSlot("identity.1")]
    try:
        from esp32 import NVS
    except ImportError:
        return files
    return files + [NvsSlot(NVS("firstboot"))]


class NvsSlot:
    """A record in NVS (ESP32), with the face of a FileSlot."""

    def __init__(self, nvs):
        self.nvs = nvs

    def read(self):
        """The bytes of the record; b"" when there is none."""
        buffer = bytearray(2048)
        try:
            return bytes(buffer[: self.nvs.get_blob("identity", buffer)])
        except OSError:
            return b""

    def write(self, data):
        """Replace the record."""
        self.nvs.set_blob("identity", data)
        self.nvs.commit()


def reset():
    """Start the board again."""
    machine.reset()


def watch(seconds):
    """Start the watchdog; 0 leaves it off. It can't be stopped again."""
    global _wdt
    if seconds:
        _wdt = machine.WDT(timeout=int(seconds * 1000))


def pause(ms):
    """Sleep for `ms` milliseconds, feeding the watchdog."""
    end = time.ticks_add(time.ticks_ms(), ms)
    while True:
        left = time.ticks_diff(end, time.ticks_ms())
        if left <= 0:
            return
        time.sleep_ms(min(left, _STEP))
        feed()


def feed():
    """Tell the watchdog that a step of a bounded wait, or a round trip, is done. Never called by a timer."""
    if _wdt:
        _wdt.feed()


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
