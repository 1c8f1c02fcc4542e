# Where a firmware package goes: the other app partition of an ESP32. MIT licence, (c) 2026 the firstboot authors.

from micropython import const

from .. import feed

_BLOCK = const(4096)
_ERASE = const(6)  # MP_BLOCKDEV_IOCTL_BLOCK_ERASE


class Target:
    """`partition` (an esp32.Partition) for an image of `size` bytes, of which `there` are there. OSError."""

    def __init__(self, partition, size, done):
        self.partition = partition
        self.size = size
        self.there = done

    def clear(self):
        """Erase all that the image will take: what is not written to yet can be told later (room.py)."""
        self.there = 0
        for block in range(-(-self.size // _BLOCK)):
            self.partition.ioctl(_ERASE, block)
            feed()

    def write(self, data):
        """Append `data`; a block is a multiple of its size."""
        block, offset = divmod(self.there, _BLOCK)
        if not offset:
            self.partition.ioctl(_ERASE, block)
        self.partition.writeblocks(block, data, offset)
        self.there += len(data)

    def close(self):
        """All that was written is safe."""

    def read(self, at, buffer):
        """Fill `buffer` from byte `at` on."""
        self.partition.readblocks(at // _BLOCK, buffer, at % _BLOCK)
