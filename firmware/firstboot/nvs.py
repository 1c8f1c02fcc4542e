# The ESP32's NVS as a slot of the identity store. MIT licence, (c) 2026 the firstboot authors.


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
