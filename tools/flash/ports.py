"""Serial ports, and which of them are boards: named by USB serial number."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from serial.tools.list_ports import comports

from .. import boards
from ..console import fail


@dataclass(frozen=True)
class Port:
    """A port with a board: `name` is what people and the ledger call it, the USB serial number where it has one.

    `in_boot_rom`: there is no port yet. `device` is the drive on which the RP2's boot ROM waits for a UF2 file.
    """

    device: str
    name: str
    serial: str = ""
    usb: str = ""  # "vid:pid"
    product: str = ""
    in_boot_rom: bool = False

    @property
    def kinds(self) -> list[str]:
        """The boards that have such a USB device; several share a bridge chip."""
        return [name for name in boards.names() if self.usb in boards.load(name).usb]


def attached() -> list[Port]:
    """Every USB serial port of this computer, known as a board's or not; one board a name."""
    found = [port for port in sorted(comports(), key=lambda port: port.device) if port.vid is not None]
    times = Counter(port.serial_number for port in found)
    ports = []
    for port in found:
        serial = port.serial_number or ""
        # Bridge chips without a serial number, or all with the same one, go by their port.
        name = serial if serial and times[serial] == 1 else os.path.basename(port.device)
        usb = f"{port.vid:04x}:{port.pid or 0:04x}"
        ports.append(Port(port.device, name, serial, usb, port.product or port.description or ""))
    return ports


def choose(
    devices: list[str], serials: list[str], every: bool, drives: Sequence[str] = (), waiting: Sequence[str] = ()
) -> list[Port]:
    """The boards that the user means: by port, by serial number, by UF2 drive, or all that look like boards; Failed.

    `waiting`: drives of boards in their boot ROM, which are part of all.
    """
    ports = attached()
    chosen = [_by_device(device, ports) for device in devices]
    chosen += [_by_serial(serial, ports) for serial in serials]
    chosen += [_by_drive(drive) for drive in drives]
    known = [port for port in ports if port.kinds] + [_by_drive(drive) for drive in waiting]
    if every:
        chosen += known
    if not (devices or serials or drives or every):
        if len(known) > 1:
            names = ", ".join(port.name for port in known)
            fail(f"{len(known)} boards are attached: {names}", "say --all, or name one with --serial")
        chosen = known
    if not chosen:
        fail("no board is attached", "use a USB cable that carries data; `firstboot doctor` tells what it sees")
    return list({os.path.realpath(port.device): port for port in chosen}.values())


def _by_drive(drive: str) -> Port:
    return Port(drive, os.path.basename(drive.rstrip("/")), in_boot_rom=True)


def _by_device(device: str, ports: list[Port]) -> Port:
    for port in ports:
        if os.path.realpath(port.device) == os.path.realpath(device):
            return port
    if not os.path.exists(device):
        fail(f"there is no port {device}", "is the cable plugged in? `firstboot doctor` lists the boards")
    return Port(device, os.path.basename(device))


def _by_serial(serial: str, ports: list[Port]) -> Port:
    found = [port for port in ports if port.serial == serial]
    if not found:
        names = ", ".join(port.name for port in ports) or "none"
        fail(f"no board has the USB serial number {serial}", f"attached: {names}")
    if len(found) > 1:
        devices = ", ".join(port.device for port in found)
        fail(f"{len(found)} boards have the USB serial number {serial}: {devices}", "name the one you mean with --port")
    return found[0]
