# The telemetry loop, put together: the last errand before it. MIT licence, (c) 2026 the firstboot authors.

import time

from . import errand


def telemetry(
    link, credentials, is_open, backoff, app, inbox, wifi, period, revoked, outbox, keep, notes, is_trial, ota
):
    """A Telemetry.

    `app`: the user's module, or None where it could not be imported. `inbox`: what hears the server, or None.
    `link` may be open already (`is_open`). `wifi`: the arguments of wifi.join(). `period`: seconds. `revoked`:
    "provision" ends the loop when the credentials are refused, "wait" tries on. `outbox`: an Outbox with what an
    earlier boot could not send, or None; `keep`: the arguments of Outbox(), and of drain() after the loop. `notes`:
    more attributes for the first report. `is_trial`: whether a crash in the first minute counts. `ota`: ota/begin.py's
    Updates, or 0.
    """
    loop = errand("ota.loop" if ota else "telemetry", "Telemetry")
    loop.ota = ota
    loop.app = app
    loop.inbox = inbox
    loop.link = link
    loop.credentials = credentials
    loop.is_open = is_open
    loop.wifi = wifi
    loop.backoff = backoff
    loop.period = int(period * 1000)
    loop.revoked = revoked
    loop.outbox = outbox
    loop.keep = keep
    loop.notes = notes
    loop.is_trial = is_trial
    loop.sample = loop.told = None
    loop.denied = loop.errors = loop.tries = loop.dropped = loop.taken = 0
    loop.due = loop.began = time.ticks_ms()
    return loop
