# A boot of a board that takes updates: which app runs, and is it on trial? MIT licence, (c) 2026 the firstboot authors.
#
# An errand of boot.py; state.py tells what is in update.json.

import os
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
    if trial and _is_over(trial, slot):
        trial = None
    if trial and trial[_KIND] == "sw":
        slot = trial[_PLACE]
    if slot is not None:
        sys.path.insert(0, _FOLDER % slot)
    every = int(config["ota.check"] * 1000)
    return errand("ota.updates", "Updates", every, config["transport"], trial and trial[_KIND])


def _is_over(trial, slot):
    # Counts this boot of it; one that can't be counted is its last, or there would be no end to them. `slot`: of the
    # app to go back to. A firmware's bootloader goes back by itself where it was built so, and after a cut it may not
    # have gone yet.
    kind, title, version, key, place, back, boots, why = trial
    boots += 1
    if boots <= _BOOTS:
        log("update: %s %s is on trial, boot %d of %d" % (title, version, boots, _BOOTS))
        try:
            errand("ota.state", "count", boots, None)
            if kind == "sw":
                os.stat(_FOLDER % place)  # gone, where an earlier boot went back and could not note it
                return False
            if errand("ota.partition", "run", place):
                return False
            why = "it can't be started"
        except OSError as e:
            why = "flash: %s" % e
    log("update: back to what was before %s %s" % (title, version))
    try:
        errand("ota.files", "tidy", slot)  # what is noted needs room
        errand("ota.state", "refuse", kind, key, why or "it did not reach the server in %d boots" % _BOOTS)
    except OSError as e:  # the next boot comes here, too
        log("flash: this can't be noted:", e)
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
