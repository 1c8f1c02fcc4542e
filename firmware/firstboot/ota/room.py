# Is there room for a package, and how much of it is there already? MIT licence, (c) 2026 the firstboot authors.
#
# An errand of bring.py.

import os
from micropython import const

from .. import errand

_BLOCK = const(4096)
_SIZE = const(3)  # in Partition.info()
_MARK = const(64)  # bytes at the beginning of a block that tell whether it was written to


def target(package, slot):
    """Where `package` (as look.py has it) goes. `slot`: of the app that runs. ValueError: there is no room."""
    return (_chip if package[0] == "fw" else _files)(package[3], slot)


def _files(size, slot):
    slot = 1 - (slot or 0)
    errand("ota.files", "remove", "update.%d" % slot)
    try:
        done = os.stat("update.part")[6]
    except OSError:
        done = 0
    info = os.statvfs("/")
    free = max(0, info[0] * info[3])  # littlefs may count what two files share twice
    # The archive and what comes out of it, with a block for what a file has too much.
    need = 2 * size - done + 4 * info[0]
    if free < need:
        raise ValueError("it needs %d bytes of flash, %d are free" % (need, free))
    found = errand("ota.files", "Target", done)
    if done > size:  # of something else
        found.clear()
    return found


def _chip(size, slot):
    try:
        from esp32 import Partition

        partition = Partition(Partition.RUNNING).get_next_update()
    except ImportError:
        raise ValueError("this chip can't take firmware over the air, only software packages")
    except OSError:
        raise ValueError("this MicroPython has no second app partition: flash one of those with OTA once, by cable")
    if size > partition.info()[_SIZE]:
        raise ValueError("%d bytes do not fit into the partition's %d" % (size, partition.info()[_SIZE]))
    # What was erased and not written to yet begins with this; a cut may have left half of the block before it.
    mark = bytearray(_MARK)
    block = 0
    while block * _BLOCK < size:
        partition.readblocks(block, mark, 0)
        if mark == b"\xff" * _MARK:
            break
        block += 1
    return errand("ota.chip", "Target", partition, size, max(0, block - 1) * _BLOCK)
