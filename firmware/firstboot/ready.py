# From the boot to the loop: the user's app, and what it needs. MIT licence, (c) 2026 the firstboot authors.

import os
from micropython import const

from . import __version__, errand, log

_HOUR = const(3600000)  # ms


def ready(name, crashes, transport, budget, writes, host, port, revoked, period, ota):
    """What the loop needs besides link and credentials: the arguments of loop.telemetry() from `app` on.

    `name`: the module of the user's app. `crashes`: what crash.begin() has returned. The rest is of the config.
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
    rare = budget, _HOUR // writes, host, port, revoked
    return app, transport, period, _outbox(rare), rare, notes, is_trial, ota


def _app(name):
    try:
        return __import__(name, None, None, ("read",))
    except Exception as e:  # noqa: BLE001 - a broken app must not keep the board from telling so
        log("app: can't be imported")
        errand("trace", "trace", e)


def _outbox(rare):
    # Only where an earlier boot has left something.
    for name in os.listdir():
        if name.startswith("outbox."):
            from .outbox import Outbox  # by its name, as drain.py needs the same module

            return Outbox(*rare[:2])
