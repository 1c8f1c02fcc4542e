# What is remembered of updates: the file update.json. MIT licence, (c) 2026 the firstboot authors.
#
# Its members, each there only when there is something to tell:
#   slot          the folder update.0 or update.1 with the app of the last package that was kept
#   trial         a package that is installed and not kept yet: [kind, title, version, key, place, back, boots, why]
#   part          key of the package that is being downloaded
#   fw, sw        of each kind: `now`: [title, version] that runs; `bad`: key of the one that is not tried again;
#                 `news`: telemetry that the server has not heard yet
# A file is written anew as a whole, by littlefs at its closing: a power cut leaves the old one.

import json
import sys
from micropython import const

from .. import errand, log

_FILE = "update.json"
_FOLDER = "update.%d"
_KINDS = ("fw", "sw")
_BOOTS = const(3)  # that a package has to reach the server in
NEVER = const(99)  # boots: more than that
KIND, TITLE, VERSION, KEY, PLACE, BACK, BOOTS, WHY = range(8)


class Updates:
    """What loop.py needs: `every` ms to look, over which `transport`, when next (`look`; 0: now), the kind on `trial`.

    `is_told`: whether the server has heard what runs since the boot.
    """


def begin(config):
    """A boot begins: returns Updates, and puts the app's folder before the board's own. May reset the board."""
    state = load()
    _try(state)
    trial = state.get("trial")
    slot = trial[PLACE] if trial and trial[KIND] == "sw" else state.get("slot")
    if slot is not None:
        sys.path.insert(0, _FOLDER % slot)
    updates = Updates()
    updates.every = int(config["ota.check"] * 1000)
    updates.transport = config["transport"]
    updates.trial = trial and trial[KIND]
    updates.look = 0
    updates.is_told = False
    return updates


def _try(state):
    trial = state.get("trial")
    if not trial:
        return
    kind, title, version, key, place, back, boots, why = trial
    trial[BOOTS] = boots = boots + 1
    is_over = boots > _BOOTS
    if is_over:
        log("update: back to what was before %s %s" % (title, version))
        del state["trial"]
        refuse(state, kind, key, why or "it did not reach the server in %d boots" % _BOOTS)
    else:
        log("update: %s %s is on trial, boot %d of %d" % (title, version, boots, _BOOTS))
    save(state)
    if kind == "fw":
        # The bootloader goes back by itself where it was built so; and after a cut it may not have gone yet.
        errand("ota.chip", "run", back if is_over else place)


def refuse(state, kind, key, why):
    """Note in `state` that the package with this key is not wanted again."""
    log("update: failed:", why)
    mine = state.setdefault(kind, {})
    mine["bad"] = key
    mine["news"] = {kind + "_state": "FAILED", kind + "_error": why}


def load():
    """The state; {} where there is none or none that can be read."""
    try:
        with open(_FILE, "rb") as f:
            state = json.loads(f.read())
        if _is_sound(state):
            return state
        log("update: update.json is damaged, and not looked at")
    except (OSError, ValueError):
        pass
    return {}


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
    trial = state.get("trial")
    if trial is None:
        return True
    if not isinstance(trial, list) or len(trial) != WHY + 1 or not isinstance(trial[BOOTS], int):
        return False
    return trial[KIND] in _KINDS and (trial[KIND] == "fw" or trial[PLACE] in (0, 1))


def save(state):
    """Write the state. OSError."""
    with open(_FILE, "wb") as f:
        f.write(json.dumps(state).encode())
