# Firmware packages: an image of the ESP32 into its other app partition. MIT licence, (c) 2026 the firstboot authors.
#
# The image is streamed into the partition, a block erased before it is written to. The bootloader checks an image by
# itself before it is made the next to run, and goes back from one that was not marked as good (ESP-IDF, "App
# rollback"; MicroPython's own builds have it).

from micropython import const

from .. import errand, feed, log

_BLOCK = const(4096)
_LABEL = const(4)  # in Partition.info()
_SIZE = const(3)
_PIECE = const(512)  # bytes read at once


def _partition():
    try:
        from esp32 import Partition
    except ImportError:
        raise ValueError("this chip can't take firmware over the air, only software packages")
    return Partition


class Target:
    """Where the image goes. `done`: bytes of it that are there. ValueError from each method: the flash, or no room."""

    def __init__(self, state, size):
        self.size = size
        Partition = _partition()
        self.running = Partition(Partition.RUNNING)
        try:
            self.to = self.running.get_next_update()
        except OSError:
            raise ValueError("this MicroPython has no second app partition: flash one of those with OTA once, by cable")
        if size > self.to.info()[_SIZE]:
            raise ValueError("%d bytes do not fit into the partition's %d" % (size, self.to.info()[_SIZE]))
        # What was erased by clear() and not written to yet begins with this; a cut may have left half a block.
        self.done = _BLOCK * max(0, self._first_empty() - 1)
        self.is_erased = False

    def _first_empty(self):
        start = bytearray(64)
        for block in range(-(-self.size // _BLOCK)):
            self.to.readblocks(block, start, 0)
            if start == b"\xff" * 64:
                return block
        return block + 1

    def clear(self):
        """Erase the partition."""
        self.done = 0
        try:
            for block in range(-(-self.size // _BLOCK)):
                self.to.ioctl(6, block)
                feed()
        except OSError as e:
            raise ValueError("flash: %s" % e)

    def write(self, data):
        """Append `data`; a block is a multiple of its size."""
        try:
            if self.done % _BLOCK == 0:
                self.to.ioctl(6, self.done // _BLOCK)
            self.to.writeblocks(self.done // _BLOCK, data, self.done % _BLOCK)
            self.done += len(data)
        except OSError as e:
            raise ValueError("flash: %s" % e)

    def close(self):
        """All that was written is safe."""

    def read(self, buffer):
        """Yield how much of `buffer` was filled next, from the beginning to the end."""
        at = 0
        while at < self.size:
            self.to.readblocks(at // _BLOCK, buffer, at % _BLOCK)
            yield min(len(buffer), self.size - at)
            at += len(buffer)

    def install(self):
        """Make it the next to run; returns its label, and that of the one to go back to."""
        try:
            self.to.set_boot()
        except OSError:
            raise ValueError("the bootloader does not take it: no image for this chip")
        return self.to.info()[_LABEL], self.running.info()[_LABEL]


def run(label):
    """Reset into the partition of this label, unless it runs already."""
    Partition = _partition()
    if Partition(Partition.RUNNING).info()[_LABEL] == label:
        return
    try:
        Partition(label).set_boot()
    except OSError as e:
        log("update: %s can't be started: %s" % (label, e))
        return
    errand("board", "reset")


def keep():
    """What runs is good: no going back."""
    try:
        _partition().mark_app_valid_cancel_rollback()
    except OSError:  # a bootloader without rollback has nothing to cancel
        pass
