# From the boot to the loop: the last errand before it. MIT licence, (c) 2026 the firstboot authors.

import os
from micropython import const

from . import __version__, errand
from .log import log

_HOUR = const(3600000)  # ms


def ready(name, is_open, config, store, link, backoff):
    """What Telemetry() is made with; `name`: the module of the user's app; `is_open`: whether `link` is."""
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
    period, revoked = config["period"], config["revoked"]
    link_and_more = link, store.credentials, is_open, wifi, backoff, period, revoked
    return (app, inbox) + link_and_more + (_outbox(keep), keep, notes, is_trial)


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
