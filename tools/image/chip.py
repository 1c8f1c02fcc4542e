"""Which chip a MicroPython that somebody downloaded is for."""

from __future__ import annotations

import struct

from . import uf2

_ESP_MAGIC = 0xE9
_ESP_HEADER = 24  # of the boot loader's image, with which MicroPython's .bin files begin
_ESP_CHIP = 12  # where in the image's header the chip's id is
_ESP_IDS = {0: "esp32", 2: "esp32s2", 5: "esp32c3", 9: "esp32s3", 12: "esp32c2", 13: "esp32c6", 16: "esp32h2"}
_UF2_CHIPS = {"rp2040": "rp2040", "rp2350 arm-s": "rp2350", "rp2350 riscv": "rp2350"}


def chip_of(data: bytes) -> str | None:
    """The chip that the firmware `data` (.bin of esptool, or .uf2) runs on, as board.mcu; None: it is none."""
    return look(data)[0]


def look(data: bytes) -> tuple[str | None, int]:
    """The chip as chip_of() has it, and the bytes of flash that the firmware takes. Uf2Error."""
    if uf2.is_uf2(data):
        found = [(_UF2_CHIPS.get(uf2.FAMILIES.get(s.family, "")), len(s.data)) for s in uf2.decode(data)]
        chips = {chip for chip, _ in found if chip}
        return (chips.pop(), sum(size for chip, size in found if chip)) if len(chips) == 1 else (None, 0)
    if len(data) < _ESP_HEADER or data[0] != _ESP_MAGIC:
        return None, 0
    (chip_id,) = struct.unpack_from("<H", data, _ESP_CHIP)
    return _ESP_IDS.get(chip_id), len(data)
