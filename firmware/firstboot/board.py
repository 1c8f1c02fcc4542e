# What tells one board from another: its name, slots, reset and watchdog. MIT licence, (c) 2026 the firstboot authors.

import os
from micropython import const

import firstboot
import machine

_WATCHDOG = const(8388)  # ms


def name(template):
    """The device name: `template` with {board} (upper-case kind), {mac} and {uid} (lower-case hex) filled in."""
    from binascii import hexlify

    uid = hexlify(machine.unique_id()).decode()
    try:
        import network

        # The radio's own address: the RP2's unique_id() is its flash chip's, and tells no MAC.
        wlan = network.WLAN(network.STA_IF)
        mac = wlan.config("mac")
        if mac == bytes(6):  # the Pico W's driver does not know it before the radio was on
            wlan.active(True)
            mac = wlan.config("mac")
        mac = hexlify(mac).decode()
    except (ImportError, OSError):
        mac = uid
    for part, value in (("board", model()), ("mac", mac), ("uid", uid)):
        template = template.replace("{%s}" % part, value)
    return template


def model():
    """The chip by name, "ESP32" or "RP2040": what the port says of its machine, at the end."""
    return os.uname()[4].split()[-1].upper()


def slots():
    """Where the identity is kept (see record.py): two files, and on ESP32 a copy in NVS.

    NVS is a partition of its own: it survives a file system that was erased or formatted anew.
    """
    try:
        from esp32 import NVS
    except ImportError:
        # "%d" keeps the paths from being names, which MicroPython keeps for ever. So small, the files are in their
        # folder's own block: in two folders, a damaged one takes one of them.
        second = "lib/identity.%d" if "lib" in os.listdir() else "identity.%d"
        return ["identity.%d" % 0, second % 1]
    return ["identity.%d" % 0, "identity.%d" % 1, NVS("firstboot")]


def reset():
    """Start the board again."""
    machine.reset()


def start(watchdog):
    """Start the watchdog, of `watchdog` seconds; 0 leaves it off. It can't be stopped again. Returns slots()."""
    if watchdog:
        ms = int(watchdog * 1000)
        try:
            firstboot.watchdog = machine.WDT(timeout=ms)
        except ValueError:  # the RP2's counts no further
            firstboot.watchdog = machine.WDT(timeout=min(ms, _WATCHDOG))
    return slots()
