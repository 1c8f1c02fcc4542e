# From the boot to the loop: the last errand before it. MIT licence, (c) 2026 the firstboot authors.

import os
import time
from micropython import const

from . import __version__, errand, log
from .telemetry import Telemetry

_HOUR = const(3600000)  # ms


def ready(name, is_open, config, store, link, backoff):
    """The Telemetry of this board. `name`: the module of the user's app; `is_open`: whether `link` is."""
    log("identity: verified")
    wifi = (config["wifi.ssid"], config["wifi.password"], config["wifi.timeout"])
    is_safe, report, is_trial = errand("crash", "begin")
    notes = {"firstboot_version": __version__, "safe_mode": is_safe}
    if report:
        notes["crash"] = report
    if is_safe:
        name = "firstboot.safe"
        log("safe mode: the board crashed five times in a row; your app is tried again at the next power-up")
    app = _app(name)
    inbox = _inbox(app, link, config["transport"])
    keep = (config["outbox.bytes"], _HOUR // config["outbox.writes_per_hour"], config["ntp.host"], config["ntp.port"])
    rest = config["period"], config["revoked"], _outbox(keep), keep, notes, is_trial
    return telemetry(app, inbox, link, store.credentials, is_open, wifi, backoff, *rest)


def telemetry(app, inbox, link, credentials, is_open, wifi, backoff, period, revoked, outbox, keep, notes, is_trial):
    """A Telemetry.

    `app`: the user's module, or None where it could not be imported. `inbox`: what hears the server, or None.
    `link` may be open already (`is_open`). `wifi`: the arguments of wifi.join(). `period`: seconds. `revoked`:
    "provision" ends the loop when the credentials are refused, "wait" tries on. `outbox`: an Outbox with what an
    earlier boot could not send, or None; `keep`: the arguments of Outbox(), and of drain() after the loop. `notes`:
    more attributes for the first report. `is_trial`: whether a crash in the first minute counts.
    """
    loop = Telemetry()
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


def _app(name):
    try:
        return __import__(name, None, None, ("read",))
    except Exception as e:  # noqa: BLE001 - a broken app must not keep the board from telling so
        log("app: can't be imported")
        errand("trace", "trace", e)


def _inbox(app, link, transport):
    # Without handlers there is no inbox, and its code is not in memory.
    if not (hasattr(app, "on_rpc") or hasattr(app, "on_attributes")):
        return None
    if transport != "mqtt":
        log("app: on_rpc() and on_attributes() are never called: they need transport mqtt, and it is", transport)
        return None
    from .inbox import Inbox

    return Inbox(link, app)


def _outbox(keep):
    # Only where an earlier boot has left something.
    for name in os.listdir():
        if name.startswith("outbox."):
            from .outbox import Outbox

            return Outbox(*keep[:2])
