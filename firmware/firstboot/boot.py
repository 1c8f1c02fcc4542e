# The boot: what comes before provisioning and before the loop, and after its end. MIT licence, (c) 2026 the
# firstboot authors.

import os
from micropython import const

from . import board, errand, forget
from .backoff import Backoff
from .link import Denied
from .log import hide, log
from .store import ASKED, CANDIDATE, Store
from .wait import pause

_CRASH = const(10000)  # ms between a crash and the reset, so that a person can read why


def boot():
    """Bring up the board: returns config, Store, Link and Backoff."""
    log("firstboot on", board.kind())
    config = errand("setup", "config")
    hide(*[config[name] for name in ("wifi.password", "provision.key", "provision.secret", "provision.fleet_secret")])
    board.watch(config["watchdog"])
    store = Store(board.slots())
    store.hide()
    forget("firstboot.board")
    link = __import__("firstboot.link." + config["transport"], None, None, ("Link",)).Link(config)
    for name in list(config):  # the link has what it needs: 400 bytes less while the board provisions itself
        if name.split(".")[0] in ("server", "tls", "coap", "watchdog"):
            del config[name]
    return config, store, link, Backoff(config["retry.first"], config["retry.most"], os.urandom)


def ended(error):
    """The board's loop ended with `error`: hand the identity back to provisioning, or say what crashed; reset."""
    if isinstance(error, Denied):
        log("identity: revoked, provisioning anew")
        store = Store(board.slots())
        # With the same credentials: should the server know them again one day, they are still good.
        state, credentials = CANDIDATE, store.credentials
        if "next" in credentials:  # x509.rotate() prepared them for this
            state, credentials = ASKED, errand("x509", "swap", credentials)
        try:
            store.save(state, credentials)
        except OSError as e:  # it is refused again after the reset, and comes back here
            log("flash: the identity can't be written, the old one stays:", e)
        errand("crash", "clear")
    else:
        log("firstboot: crashed, starting again in %d s" % (_CRASH // 1000))
        errand("trace", "trace", error)
        errand("crash", "note", error)
        pause(_CRASH)
    board.reset()
