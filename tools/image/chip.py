"""Which chip a MicroPython that somebody downloaded is for."""

from __future__ import annotations

import struct

from . import uf2

_ESP_MAGIC = 0xE9
_ESP_CHIP = 12  # where in the image's header the chip's id is
_ESP_IDS = {0: "esp32", 2: "esp32s2", 5: "esp32c3", 9: "esp32s3", 12: "esp32c2", 13: "esp32c6", 16: "esp32h2"}
_UF2_CHIPS = {"rp2040": "rp2040", "rp2350 arm-s": "rp2350", "rp2350 riscv": "rp2350"}


def chip_of(data: bytes) -> str | None:
    """The chip that the firmware `data` (.bin of esptool, or .uf2) runs on, as board.mcu; None: it does not say."""
    if uf2.is_uf2(data):
        for segment in uf2.decode(data):
            chip = _UF2_CHIPS.get(uf2.FAMILIES.get(segment.family, ""))
            if chip:
                return chip
        return None
    if len(data) > _ESP_CHIP + 2 and data[0] == _ESP_MAGIC:
        (chip_id,) = struct.unpack_from("<H", data, _ESP_CHIP)
        return _ESP_IDS.get(chip_id)
    return None
