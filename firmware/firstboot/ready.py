# From the boot to the loop: the user's app, and what it needs. MIT licence, (c) 2026 the firstboot authors.

import os
from micropython import const

from . import __version__, errand, log

_HOUR = const(3600000)  # ms


def ready(name, config, link, crashes):
    """What the loop needs besides link and credentials: the arguments of loop.telemetry() from `app` on.

    `name`: the module of the user's app. `crashes`: what crash.begin() has returned.
    """
    log("identity: verified")
    is_safe, report, is_trial = crashes
    notes = {"firstboot_version": __version__, "safe_mode": is_safe}
    if report:
        notes["crash"] = report
    if is_safe:
        name = "firstboot.safe"
        log("safe mode: the board crashed five times in a row; your app is tried again at the next power-up")
    app = _app(name)
    inbox = _inbox(app, link, config["transport"])
    # A string of up to ten letters is a name, which MicroPython keeps for ever; several in one text are none.
    budget, writes, host, port, revoked, period, ota = [
        config[name]
        for name in "outbox.bytes outbox.writes_per_hour ntp.host ntp.port revoked period ota.check".split()
    ]
    rare = budget, _HOUR // writes, host, port, revoked
    return app, inbox, period, _outbox(rare), rare, notes, is_trial, ota


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
    return errand("inbox", "Inbox", link, app)


def _outbox(rare):
    # Only where an earlier boot has left something.
    for name in os.listdir():
        if name.startswith("outbox."):
            from .outbox import Outbox  # by its name, as drain.py needs the same module

            return Outbox(*rare[:2])
