# Where a software package goes: a file, and what was unpacked of it. MIT licence, (c) 2026 the firstboot authors.

import os
from micropython import const

_PART = "update.part"
_SYNC = const(8192)  # bytes after which what has come is safe from a power cut


class Target:
    """The archive in update.part, of which `done` bytes are there. OSError."""

    def __init__(self, done):
        self.done = done
        self.file = None

    def clear(self):
        """Forget what is there."""
        self.close()
        self.done = 0
        open(_PART, "wb").close()

    def write(self, data):
        """Append `data`."""
        if not self.file:
            self.file = open(_PART, "ab")
        self.file.write(data)
        self.done += len(data)
        if self.done % _SYNC == 0:
            self.file.flush()

    def close(self):
        """All that was written is safe."""
        file, self.file = self.file, None
        if file:
            file.close()

    def read(self, at, buffer):
        """Fill `buffer` from byte `at` on, or as far as there is something."""
        if not self.file:
            self.file = open(_PART, "rb")
        self.file.seek(at)
        self.file.readinto(buffer)


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
