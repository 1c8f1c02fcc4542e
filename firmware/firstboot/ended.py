# After the telemetry loop, or whatever else has ended: say why, and start again. MIT licence, (c) 2026 the firstboot
# authors.

from micropython import const

from . import errand, log, pause
from .link import Denied

_CANDIDATE = const(0x10)  # store's states
_ASKED = const(0x20)
_CONFIG = "config.json"
_CRASH = const(10000)  # ms between a crash and the reset, so that a person can read why


def end(loop, error):
    """What runs on this board ended with `error`: hand the identity back to provisioning, or say what crashed; reset.

    `loop`: the Telemetry, if it came to that. An error that is no Exception comes out: a person, or a soft reset.
    """
    if loop:
        errand("mend", "end", loop)
    if not isinstance(error, Exception):
        if isinstance(error, KeyboardInterrupt):  # a person's resets are no crashes
            errand("crash", "clear")
        raise error
    if isinstance(error, ImportError):  # a slice that was left out, or microCoAPy
        errand("config_wait", "wait", _CONFIG, ValueError(_CONFIG, "needs more than is on this board: %s" % error))
    elif isinstance(error, Denied):
        log("identity: revoked, provisioning anew")
        store = errand("store", "Store", errand("board", "slots"))
        # With the same credentials: should the server know them again one day, they are still good.
        state, credentials = _CANDIDATE, store.credentials
        if "next" in credentials:  # x509.rotate() prepared them for this
            state, credentials = _ASKED, errand("x509", "swap", credentials)
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
    errand("board", "reset")
