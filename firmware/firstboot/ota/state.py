# What is remembered of updates: the file update.json. MIT licence, (c) 2026 the firstboot authors.
#
# Its members, each there only when there is something to tell:
#   slot          the folder update.0 or update.1 with the app of the last package that was kept
#   trial         a package that is installed and not kept yet: [kind, title, version, key, place, back, tries, why]
#   part          key of the package that is being downloaded
#   fw, sw        of each kind: `now`: [title, version] that runs; `bad`: key of the one that is not tried again;
#                 `news`: telemetry that the server has not heard yet
# A file is written anew as a whole, by littlefs at its closing: a power cut leaves the old one. begin.py looks it over
# at each boot.

import json
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
    """Write the state. OSError."""
    with open(_FILE, "wb") as f:
        f.write(json.dumps(state).encode())


def part(key):
    """The package with this key is being downloaded: (the app's slot, whether it was so before)."""
    state = load()
    is_same = state.get("part") == key
    state["part"] = key
    if not is_same:
        save(state)
    return state.get("slot"), is_same


def install(trial):
    """What was downloaded is what the next boot is to try."""
    state = load()
    state.pop("part", None)
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
    for member in ("part", "trial"):
        state.pop(member, None)
    mine = state.setdefault(kind, {})
    mine["bad"] = key
    mine["news"] = {kind + "_state": "FAILED", kind + "_error": why}
    save(state)
