# All that differs from port to port. MIT licence, (c) 2026 the firstboot authors.

import os
import time
from micropython import const

import firstboot
import machine


_FLASH = const(150)  # ms
_WATCHDOG = const(8388)  # ms


def name(template):
    """The device name: `template` with {board} (upper-case kind), {mac} and {uid} (lower-case hex) filled in."""
    from binascii import hexlify

    uid = hexlify(machine.unique_id()).decode()
    try:
        import network

        # The radio's own address: the RP2's unique_id() is its flash chip's, and tells no MAC.
        mac = hexlify(network.WLAN(network.STA_IF).config("mac")).decode()
    except (ImportError, OSError):
        mac = uid
    for part, value in (("board", kind()), ("mac", mac), ("uid", uid)):
        template = template.replace("{%s}" % part, value)
    return template


def kind():
    """The chip by name, "ESP32" or "RP2040": what the port says of its machine, at the end."""
    return os.uname()[4].split()[-1].upper()


def slots():
    """Where the identity is kept: two files, and on ESP32 a copy in NVS.

    NVS is a partition of its own: it survives a file system that was erased or formatted anew.
    """
    from .store import FileSlot

    try:
        from esp32 import NVS
    except ImportError:
        # So small, the files are in their folder's own block: in two folders, a damaged one takes one of them.
        return [FileSlot("identity.0"), FileSlot("lib/identity.1" if "lib" in os.listdir() else "identity.1")]
    from .nvs import NvsSlot

    return [FileSlot("identity.0"), FileSlot("identity.1"), NvsSlot(NVS("firstboot"))]


def signer():
    """What signs with a key that a secure element holds; None where there is none.

    A board that has one brings a module `secure_element` with sign(key, digest) -> signature. `key`: the private key
    in the file x509.key (bytes), which is then no secret but names one of the chip's keys; `digest`: what to sign;
    the signature: ECDSA-Sig-Value in DER. The port's `tls` must be built with MICROPY_PY_SSL_ECDSA_SIGN_ALT.
    """
    try:
        from secure_element import sign
    except ImportError:
        return None
    return sign


def reset():
    """Start the board again."""
    machine.reset()


def watch(seconds):
    """Start the watchdog; 0 leaves it off. It can't be stopped again."""
    if seconds:
        ms = int(seconds * 1000)
        try:
            firstboot.watchdog = machine.WDT(timeout=ms)
        except ValueError:  # the RP2's counts no further
            firstboot.watchdog = machine.WDT(timeout=min(ms, _WATCHDOG))


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
