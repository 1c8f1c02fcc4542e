# A boot of a board that takes updates: which app runs, and is it on trial? MIT licence, (c) 2026 the firstboot authors.
#
# An errand of boot.py; state.py tells what is in update.json.

import sys
from micropython import const

from .. import errand, log

_FOLDER = "update.%d"
_KINDS = ("fw", "sw")
_BOOTS = const(3)  # that a package has to reach the server in
_KIND = const(0)  # where in a trial they are
_PLACE = const(4)
_TRIES = const(6)
_WHY = const(7)


def begin(config):
    """Returns Updates, and puts the app's folder before the board's own. May reset the board."""
    state = errand("ota.state", "load")
    if not _is_sound(state):
        log("update: update.json is damaged, and forgotten")
        state = {}
        errand("ota.state", "save", state)
    trial = state.get("trial")
    slot = state.get("slot")
    if trial and _is_over(trial):
        trial = None
    if trial and trial[_KIND] == "sw":
        slot = trial[_PLACE]
    if slot is not None:
        sys.path.insert(0, _FOLDER % slot)
    every = int(config["ota.check"] * 1000)
    return errand("ota.updates", "Updates", every, config["transport"], trial and trial[_KIND])


def _is_over(trial):
    # Counts this boot of it. A firmware's bootloader goes back by itself where it was built so, and after a cut it may
    # not have gone yet.
    kind, title, version, key, place, back, boots, why = trial
    boots += 1
    is_over = boots > _BOOTS
    if not is_over:
        log("update: %s %s is on trial, boot %d of %d" % (title, version, boots, _BOOTS))
        errand("ota.state", "count", boots, None)
        if kind == "sw" or errand("ota.partition", "run", place):
            return False
        why = "it can't be started"
    log("update: back to what was before %s %s" % (title, version))
    errand("ota.state", "refuse", kind, key, why or "it did not reach the server in %d boots" % _BOOTS)
    if kind == "fw":
        errand("ota.partition", "run", back)
    return True


def _is_sound(state):
    if not isinstance(state, dict) or state.get("slot") not in (None, 0, 1):
        return False
    for kind in _KINDS:
        mine = state.get(kind, {})
        if not isinstance(mine, dict) or not isinstance(mine.get("news", {}), dict):
            return False
        now = mine.get("now", [None, None])
        if not isinstance(now, list) or len(now) != 2:
            return False
    if not isinstance(state.get("wrong", 0), int):
        return False
    trial = state.get("trial")
    if trial is None:
        return True
    if not isinstance(trial, list) or len(trial) != _WHY + 1 or not isinstance(trial[_TRIES], int):
        return False
    return trial[_KIND] in _KINDS and (trial[_KIND] == "fw" or trial[_PLACE] in (0, 1))
