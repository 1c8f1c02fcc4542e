# What the server is told of updates. MIT licence, (c) 2026 the firstboot authors.
#
# Errands of find.py and bring.py. It is in update.json until the server has acknowledged it.

import json

from .. import errand, log

_KINDS = ("fw", "sw")


def tell_server(loop):
    """Send what the server has not heard yet, and once a boot what runs. OSError as the link's verbs."""
    state = errand("ota.state", "load")
    for kind in _KINDS:
        mine = state.get(kind, {})
        news = mine.get("news", {})
        if mine.get("now") and (news or not loop.ota.is_told):
            news["current_%s_title" % kind], news["current_%s_version" % kind] = mine["now"]
        if news:
            loop.link.send(json.dumps(news).encode())
        if mine.pop("news", None):
            errand("ota.state", "save", state)
    loop.ota.is_told = True


def refuse(loop, package, why):
    """Note that `package` (as look.py has it) is not wanted again, and tell the server. OSError as the link's verbs."""
    # First, as what is noted needs room.
    errand("ota.files", "tidy", errand("ota.state", "begun", None)[0])
    kind = package[0]
    try:
        errand("ota.state", "refuse", kind, package[6], why)
    except OSError as e:  # told all the same, at each look
        log("flash: this can't be noted:", e)
        loop.link.send(json.dumps({kind + "_state": "FAILED", kind + "_error": why}).encode())
    loop.ota.look = 0  # the server has closed the connection, perhaps: it is told then
    tell_server(loop)
