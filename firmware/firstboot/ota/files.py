# Software packages: a TAR archive with the app and its modules. MIT licence, (c) 2026 the firstboot authors.
#
# The archive is unpacked into one of two folders in turn, which comes before the board's own in sys.path: going back
# is to use the other one. What was flashed is never written over, and firstboot itself is not replaced: it is what
# goes back.

import os
from micropython import const

from .. import feed

_PART = "update.part"
_FOLDER = "update.%d"
_BLOCK = const(512)  # POSIX ustar
_SYNC = const(8192)  # bytes after which what has come is safe from a power cut
_IS_FOLDER = const(0x4000)
_OURS = ("firstboot", "main", "boot")


class Target:
    """Where the archive goes. `done`: bytes of it that are there. ValueError from each method: flash or archive."""

    def __init__(self, state, size):
        self.slot = 1 - (state.get("slot") or 0)
        self.file = None
        self.done = _size(_PART)
        # The archive and what comes out of it, with a block for what each file has too much.
        _remove(_FOLDER % self.slot)
        info = os.statvfs("/")
        free = info[0] * info[3]
        need = 2 * size - self.done + 4 * info[0]
        if free < need:
            raise ValueError("it needs %d bytes of flash, %d are free" % (need, free))
        if self.done > size:
            self.clear()

    def clear(self):
        """Forget what is there."""
        self.close()
        try:
            os.remove(_PART)
        except OSError:
            pass
        self.done = 0

    def write(self, data):
        """Append `data`."""
        try:
            if not self.file:
                self.file = open(_PART, "ab")
            self.file.write(data)
            self.done += len(data)
            if self.done % _SYNC == 0:
                self.file.flush()
        except OSError as e:
            raise ValueError("flash: %s" % e)

    def close(self):
        """All that was written is safe."""
        file, self.file = self.file, None
        if file:
            file.close()

    def read(self, buffer):
        """Yield how much of `buffer` was filled next, from the beginning to the end."""
        with open(_PART, "rb") as f:
            while True:
                size = f.readinto(buffer)
                if not size:
                    return
                yield size

    def install(self):
        """Unpack; returns the slot, and which is the one to go back to (None: there is none)."""
        folder = _FOLDER % self.slot
        try:
            os.mkdir(folder)
            with open(_PART, "rb") as f:
                _unpack(f, folder)
        except OSError as e:
            raise ValueError("flash: %s" % e)
        return self.slot, None


def tidy(slot):
    """Remove the archive and the folder that is not `slot`'s, if they are there."""
    _remove(_PART)
    _remove(_FOLDER % (1 - (slot or 0)))


def _size(path):
    try:
        return os.stat(path)[6]
    except OSError:
        return 0


def _remove(path):
    try:
        is_folder = os.stat(path)[0] & _IS_FOLDER
    except OSError:
        return
    if is_folder:
        for name in os.listdir(path):
            _remove(path + "/" + name)
        os.rmdir(path)
    else:
        os.remove(path)


def _unpack(f, folder):
    while True:
        head = f.read(_BLOCK)
        if not head or not head[0]:  # two empty blocks end an archive
            return
        name, size, kind = _entry(head)
        if kind == b"5":
            _folder(folder, name)
        elif kind in b"0\0":
            _folder(folder, name.rpartition("/")[0])
            _copy(f, folder + "/" + name, size)
            size = -size % _BLOCK
            f.read(size)
            size = 0
        elif kind not in b"xg":  # what pax tells of a file: nothing that matters here
            raise ValueError("%s in the archive is neither file nor folder" % name)
        while size > 0:
            size -= len(f.read(_BLOCK)) or size
        feed()


def _entry(head):
    # Name, size and type (POSIX, ustar interchange format).
    try:
        if len(head) < _BLOCK or sum(head) - sum(head[148:156]) + 256 != _octal(head[148:156]):
            raise ValueError
        size = _octal(head[124:136])
        name = _text(head[:100])
        if head[257:262] == b"ustar" and head[345]:
            name = _text(head[345:500]) + "/" + name
    except ValueError:
        raise ValueError("this is not a TAR archive")
    parts = [part for part in name.split("/") if part not in ("", ".")]
    if ".." in parts or not parts and head[156:157] != b"5":
        raise ValueError("%s in the archive is no name of a file" % name)
    if parts and parts[0].partition(".")[0] in _OURS:
        raise ValueError("%s is in the archive: firstboot itself comes with the firmware" % parts[0])
    return "/".join(parts), size, head[156:157]


def _text(field):
    return field[: field.find(b"\0")].decode() if b"\0" in field else field.decode()


def _octal(field):
    return int(field.replace(b"\0", b" ").strip(), 8)


def _folder(base, name):
    path = base
    for part in name.split("/"):
        path += "/" + part
        if part and not _is_there(path):
            os.mkdir(path)


def _is_there(path):
    try:
        os.stat(path)
        return True
    except OSError:
        return False


def _copy(f, path, size):
    with open(path, "wb") as to:
        while size:
            data = f.read(min(size, _BLOCK))
            if not data:
                raise ValueError("the archive ends in the middle of %s" % path)
            to.write(data)
            size -= len(data)
