# The telemetry loop, put together: the last errand before it. MIT licence, (c) 2026 the firstboot authors.

import time
from micropython import const

from . import errand, log

_TRIAL = const(60000)  # ms that a boot must live to be none of those that crash


def telemetry(link, credentials, wifi, backoff, app, transport, period, outbox, rare, notes, is_trial, ota):
    """A Telemetry.

    `link` may be open already. `credentials`: what its open() takes. `wifi`: the arguments of wifi.join(). `app`: the
    user's module, or None where it could not be imported. `period`: seconds. `outbox`: an Outbox with what an earlier
    boot could not send, or None. `rare`: what mend.py needs: the arguments of Outbox(), those of drain() after the
    loop, and "provision", which ends the loop when the credentials are refused, or "wait", which tries on. `notes`:
    more attributes for the first report. `is_trial`: whether a crash in the first minute counts. `ota`: an Updates,
    or 0.
    """
    loop = errand("ota.loop" if ota else "telemetry", "Telemetry")
    if ota:
        loop.ota = ota
    loop.app = app
    loop.inbox = _inbox(app, link, transport)
    loop.link = link
    loop.credentials = credentials
    loop.backoff = backoff
    loop.period = int(period * 1000)
    loop.outbox = outbox
    loop.rare = rare + (wifi,)  # connect.py's: an attribute of its own would be one too many, see Telemetry
    loop.news = notes
    loop.sample = None
    loop.is_heard = False
    loop.denied = loop.errors = loop.dropped = loop.taken = 0
    loop.due = time.ticks_ms()
    loop.trial = is_trial and time.ticks_add(loop.due, _TRIAL) | 1
    return loop


def _inbox(app, link, transport):
    # Without handlers there is no inbox, and its code is not in memory.
    if not (hasattr(app, "on_rpc") or hasattr(app, "on_attributes")):
        return None
    if transport != "mqtt":
        log("app: on_rpc() and on_attributes() are never called: they need transport mqtt, and it is", transport)
        return None
    return errand("inbox", "Inbox", link, app)
