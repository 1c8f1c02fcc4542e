# The checksums of ThingsBoard's packages. MIT licence, (c) 2026 the firstboot authors.

import hashlib
from binascii import crc32, hexlify

from .. import feed


class _Crc:
    # Its hex has the bytes in the reversed order (contract 9).
    crc = 0

    def update(self, data):
        self.crc = crc32(data, self.crc)

    def digest(self):
        return self.crc.to_bytes(4, "little")


def make(algorithm):
    """A checksum by its name in ThingsBoard. ValueError: this board can't compute that one."""
    if algorithm == "CRC32":
        return _Crc()
    if algorithm in ("SHA256", "MD5") and hasattr(hashlib, algorithm.lower()):  # not each port has MD5
        return getattr(hashlib, algorithm.lower())()
    raise ValueError("checksum_algorithm %s: this board has SHA256 and CRC32" % algorithm)


def check(package, target, buffer):
    """Read `package` (as look.py has it) back from `target`, through `buffer`: what is wrong with it, or None.

    ValueError: the flash.
    """
    size, algorithm, checksum = package[3:6]
    found = make(algorithm)
    try:
        for at in range(0, size, len(buffer)):
            target.read(at, buffer)
            found.update(memoryview(buffer)[: size - at])
            feed()
        target.close()
    except OSError as e:
        raise ValueError("flash: %s" % e)
    found = hexlify(found.digest()).decode()
    return None if found == checksum else "the checksum is %s and not %s" % (found, checksum)
