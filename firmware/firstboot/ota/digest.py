# The checksums of ThingsBoard's packages. MIT licence, (c) 2026 the firstboot authors.

import hashlib
from binascii import crc32, hexlify

from .. import feed


class _Crc:
    # Its hex has the bytes in the reversed order (contract 9).
    def __init__(self):
        self.crc = 0

    def update(self, data):
        self.crc = crc32(data, self.crc)

    def digest(self):
        return self.crc.to_bytes(4, "little")


class Digest:
    """A checksum by its name in ThingsBoard. ValueError: this board can't compute that one."""

    def __init__(self, algorithm):
        make = None
        if algorithm == "CRC32":
            make = _Crc
        elif algorithm in ("SHA256", "MD5"):
            make = getattr(hashlib, algorithm.lower(), None)  # not each port has MD5
        if not make:
            raise ValueError("checksum_algorithm %s: this board has SHA256 and CRC32" % algorithm)
        self.hash = make()

    def of(self, target):
        """Lower-case hex of all that there is in `target`, read back from flash."""
        buffer = bytearray(512)
        view = memoryview(buffer)
        for size in target.read(buffer):
            self.hash.update(view[:size])
            feed()
        return hexlify(self.hash.digest()).decode()
