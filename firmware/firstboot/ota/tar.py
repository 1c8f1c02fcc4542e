# A TAR archive's files, onto flash. MIT licence, (c) 2026 the firstboot authors.
#
# An errand of install.py. The archive is unpacked into one of two folders in turn, which comes before the board's own
# in sys.path: going back is to use the other one. What was flashed is never written over, and firstboot itself is not
# among the files: it is what goes back.

import os
from micropython import const

from .. import feed

_BLOCK = const(512)  # POSIX, ustar interchange format
_OURS = ("firstboot", "main", "boot")


def install(slot):
    """Unpack update.part into the folder of `slot`, which is returned. OSError; ValueError: what is wrong with it."""
    folder = "update.%d" % slot
    os.mkdir(folder)
    with open("update.part", "rb") as f:
        _unpack(f, folder)
    return slot


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
        elif kind not in b"xg":
            raise ValueError("%s in the archive is neither file nor folder" % name)
        told = b""  # by pax of a file: nothing that matters here, but a name that has no place where names are
        while size > 0:
            data = f.read(_BLOCK)
            size -= len(data) or size
            told = told[-5:] + data
            if b" path=" in told:
                raise ValueError("a name in the archive is too long, or not in ASCII")
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
