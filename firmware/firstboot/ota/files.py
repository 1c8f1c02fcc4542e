# Where a software package goes: a file, and what was unpacked of it. MIT licence, (c) 2026 the firstboot authors.

import os
from micropython import const

_PART = "update.part"
_SYNC = const(8192)  # bytes after which what has come is safe from a power cut


class Target:
    """The archive in update.part, of which `there` bytes are there. OSError."""

    def __init__(self, done):
        self.there = done
        self.opened = None

    def clear(self):
        """Forget what is there."""
        self.close()
        self.there = 0
        open(_PART, "wb").close()

    def write(self, data):
        """Append `data`."""
        if not self.opened:
            self.opened = open(_PART, "ab")
        self.opened.write(data)
        self.there += len(data)
        if self.there % _SYNC == 0:
            self.opened.flush()

    def close(self):
        """All that was written is safe."""
        file, self.opened = self.opened, None
        if file:
            file.close()

    def read(self, at, buffer):
        """Fill `buffer` from byte `at` on, or as far as there is something."""
        if not self.opened:
            self.opened = open(_PART, "rb")
        self.opened.seek(at)
        self.opened.readinto(buffer)


def tidy(slot):
    """Remove the archive, and the folder that is not `slot`'s, as far as they are there."""
    remove(_PART)
    remove("update.%d" % (1 - (slot or 0)))


def remove(path):
    """Remove a file, or a folder with all that is in it, if it is there."""
    try:
        is_folder = os.stat(path)[0] & 0x4000
    except OSError:
        return
    if is_folder:
        for name in os.listdir(path):
            remove(path + "/" + name)
        os.rmdir(path)
    else:
        os.remove(path)
