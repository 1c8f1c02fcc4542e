# The ESP32's NVS as a slot of the identity store. MIT licence, (c) 2026 the firstboot authors.

from micropython import const

_MOST = const(2048)  # bytes of a record
_INVALID_LENGTH = const(-0x110C)  # ESP_ERR_NVS_INVALID_LENGTH: the buffer is too short


class NvsSlot:
    """A record in NVS (ESP32), with the face of a FileSlot."""

    def __init__(self, nvs):
        self.nvs = nvs

    def read(self):
        """The bytes of the record; b"" when there is none."""
        size = 256  # enough for a token; a record with certificates takes 2 KB
        while size <= _MOST:
            buffer = bytearray(size)
            try:
                return bytes(buffer[: self.nvs.get_blob("identity", buffer)])
            except OSError as e:
                if e.errno != _INVALID_LENGTH:
                    break
            size *= 2
        return b""

    def write(self, data):
        """Replace the record."""
        self.nvs.set_blob("identity", data)
        self.nvs.commit()
