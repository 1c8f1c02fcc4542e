# From the boot to the loop: the last errand before it. MIT licence, (c) 2026 the firstboot authors.

import os
from micropython import const

from . import errand
from .log import log

_HOUR = const(3600000)  # ms


def ready(name, is_open, config, store, link, backoff):
    """What Telemetry() is made with; `name`: the module of the user's app; `is_open`: whether `link` is."""
    log("identity: verified")
    wifi = (config["wifi.ssid"], config["wifi.password"], config["wifi.timeout"])
    app = _app(name)
    inbox = _inbox(app, link, config["transport"])
    keep = (config["outbox.bytes"], _HOUR // config["outbox.writes_per_hour"], config["ntp.host"], config["ntp.port"])
    period, revoked = config["period"], config["revoked"]
    return app, inbox, link, store.credentials, is_open, wifi, backoff, period, revoked, _outbox(keep), keep


def _app(name):
    try:
        return __import__(name)
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
