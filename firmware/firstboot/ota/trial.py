# The end of an update's trial: it is kept, or it was the last boot of it. MIT licence, (c) 2026 the firstboot authors.
#
# Errands of bring.py and loop.py.

from micropython import const

from .. import errand, log

_LAST = const(99)  # boots: more than an update may have


def end(loop, why):
    """The package on trial is no good: go back to what was there before."""
    errand("ota.state", "count", _LAST, why)
    restart(loop)


def restart(loop):
    """Restart the board; samples that wait in memory go to flash before."""
    errand("mend", "end", loop)
    loop.link.close()
    errand("crash", "clear")
    errand("board", "reset")


def keep(loop):
    """A sample was acknowledged: the package on trial is the one that runs from now on."""
    if loop.ota.trial == "fw":
        errand("ota.partition", "keep")
    slot, package = errand("ota.state", "keep")
    errand("ota.files", "tidy", slot)
    log("update: %s %s is kept" % tuple(package))
    loop.ota.trial = None
    loop.ota.look = 0
