# The boot: what comes before provisioning and before the loop, and after its end. MIT licence, (c) 2026 the
# firstboot authors.

from micropython import const

from . import board, errand, forget, log, pause
from .link import Denied
from .store import ASKED, CANDIDATE, Store

_CRASH = const(10000)  # ms between a crash and the reset, so that a person can read why


def boot():
    """Bring up the board: returns config, Store, Link and what backoff.draw() keeps."""
    log("firstboot on", board.kind())
    config = errand("setup", "config")
    secret = ("wifi.password", "provision.key", "provision.secret", "provision.fleet_secret")
    errand("secrets", "hide", [config[name] for name in secret])
    board.watch(config["watchdog"])
    store = Store(board.slots())
    store.hide()
    forget("firstboot.board")
    link = __import__("firstboot.link." + config["transport"], None, None, ("Link",)).Link(config)
    # The link has what it needs: 400 bytes less while the board provisions itself. A new dict, as none ever shrinks.
    used = ("server", "tls", "coap", "watchdog")
    config = {name: config[name] for name in config if name.split(".")[0] not in used}
    return config, store, link, [config["retry.first"], config["retry.first"], config["retry.most"]]


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
