# What is remembered of updates: the file update.json. MIT licence, (c) 2026 the firstboot authors.
#
# Its members, each there only when there is something to tell:
#   slot          the folder update.0 or update.1 with the app of the last package that was kept
#   trial         a package that is installed and not kept yet: [kind, title, version, key, place, back, tries, why]
#   part          key of the package that is being downloaded
#   again, wrong  key of the one that was begun last, and how often its bytes were not what they must be
#   fw, sw        of each kind: `now`: [title, version] that runs; `bad`: key of the one that is not tried again;
#                 `news`: telemetry that the server has not heard yet
# begin.py looks it over at each boot.

import json
import os
from micropython import const

from .. import log

_FILE = "update.json"
_TRIES = const(6)  # where in `trial` they are
_WHY = const(7)


def load():
    """The state; {} where there is none, None where it can't be read."""
    try:
        with open(_FILE, "rb") as f:
            return json.loads(f.read())
    except OSError:
        return {}
    except (ValueError, RuntimeError, MemoryError):
        return None


def save(state):
    """Write the state. OSError: the old one is there."""
    # As record_write.rewrite(), which as an errand would be 480 bytes at the peak of an update's heap.
    with open(_FILE + ".new", "wb") as f:
        f.write(json.dumps(state).encode())
    os.rename(_FILE + ".new", _FILE)


def begun(key):
    """The slot of the app that runs, and whether what was downloaded is of the package with this key."""
    state = load()
    return state.get("slot"), state.get("part") == key


def begin(key):
    """Nothing was downloaded yet of the package with this key, and nothing is there of another."""
    state = load()
    if state.get("again") != key:
        state.pop("wrong", None)
    state["part"] = state["again"] = key
    save(state)


def wrong():
    """What was downloaded is not what it must be, and forgotten; returns how often that was so."""
    state = load()
    state.pop("part", None)
    count = state["wrong"] = state.get("wrong", 0) + 1
    save(state)
    return count


def install(trial):
    """What was downloaded is what the next boot is to try."""
    state = load()
    _forget(state)
    state["trial"] = trial
    save(state)


def count(tries, why):
    """The package on trial has had so many boots; `why` it is no good, if that is known."""
    state = load()
    state["trial"][_TRIES] = tries
    state["trial"][_WHY] = why
    save(state)


def keep():
    """What is on trial stays; returns the slot of the app and [title, version]."""
    state = load()
    kind, title, version, _, place = state.pop("trial")[:5]
    if kind == "sw":
        state["slot"] = place
    state[kind] = {"now": [title, version], "news": {kind + "_state": "UPDATED"}}
    save(state)
    return state.get("slot"), state[kind]["now"]


def refuse(kind, key, why):
    """The package with this key is not wanted again, and not on trial any more; the server is to hear why."""
    log("update: failed:", why)
    state = load()
    _forget(state)
    state.pop("trial", None)
    mine = state.setdefault(kind, {})
    mine["bad"] = key
    mine["news"] = {kind + "_state": "FAILED", kind + "_error": why}
    save(state)


def _forget(state):
    for member in ("part", "again", "wrong"):
        state.pop(member, None)
