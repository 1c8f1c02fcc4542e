# An update onto the board. MIT licence, (c) 2026 the firstboot authors.
#
# An errand of loop.py, the other half of an update (find.py has the first).

import gc
from micropython import const

from .. import errand, log

# Bytes of a chunk, where a frame or a datagram holds as much: each is a round trip.
_SMALL = const(512)
_LARGE = const(2048)
_HEAP = const(32768)  # bytes that are free, for a large one
_TRIES = const(3)  # downloads whose bytes may be wrong, until it is the package


def bring(loop, package, sample):
    """Bring `package` (as look.py has it) onto flash, calling sample() on the way, and reset the board into it.

    Returns where it was refused, or is to be tried again at the next look. OSError and Denied as the link's verbs.
    """
    try:
        buffer = bytearray(_LARGE if gc.mem_free() > _HEAP else _SMALL)  # first, as it is in one piece
        slot, is_same = errand("ota.state", "begun", package[6])
        target = errand("ota.room", "target", package, slot)
        if not is_same:
            target.clear()
            errand("ota.state", "begin", package[6])
        source = errand("ota." + loop.ota.transport + "_chunks", "Source", loop.link, package, buffer)
        errand("ota.fetch", "fetch", loop, package[3], source, target, sample)
        source = None
        loop.link.send(('{"%s_state":"DOWNLOADED"}' % package[0]).encode())
        why = errand("ota.digest", "check", package, target, buffer)
        target = buffer = None
        if why:
            log("update:", why)
            if errand("ota.state", "wrong") < _TRIES:
                return
            raise ValueError(why)
        errand("ota.install", "install", loop, package, slot)
        errand("ota.trial", "restart", loop)
    except ValueError as e:
        source = target = buffer = None
        errand("ota.news", "refuse", loop, package, str(e))
