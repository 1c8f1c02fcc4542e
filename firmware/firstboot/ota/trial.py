# The end of an update's trial: it is kept, or it was the last boot of it. MIT licence, (c) 2026 the firstboot authors.
#
# Errands of loop.py and fetch.py.

from .. import errand, forget, log
from .state import BOOTS, KIND, NEVER, PLACE, TITLE, VERSION, WHY, load, save

forget("firstboot.ota.state")


def end(loop, why):
    """The package on trial is no good: go back to what was there before."""
    state = load()
    state["trial"][BOOTS] = NEVER
    state["trial"][WHY] = why
    save(state)
    restart(loop)


def restart(loop):
    """Restart the board; samples that wait in memory go to flash before."""
    errand("mend", "end", loop)
    loop.link.close()
    errand("crash", "clear")
    errand("board", "reset")


def keep(loop):
    """A sample was acknowledged: the package on trial is the one that runs from now on."""
    state = load()
    trial = state.pop("trial")
    kind = trial[KIND]
    if kind == "fw":
        errand("ota.chip", "keep")
    else:
        state["slot"] = trial[PLACE]
    state[kind] = {"now": trial[TITLE : VERSION + 1], "news": {kind + "_state": "UPDATED"}}
    save(state)
    errand("ota.files", "tidy", state.get("slot"))
    log("update: %s %s is kept" % (trial[TITLE], trial[VERSION]))
    loop.ota.trial = None
    loop.ota.look = 0
