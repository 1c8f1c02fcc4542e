# How the telemetry loop gets its connection. MIT licence, (c) 2026 the firstboot authors.
#
# An errand of telemetry.py of its own: a connection's handshake needs the heap more than anything that follows.

import firstboot

from . import errand, log


def connect(loop):
    """Be connected, and have sent what an outage has left in the outbox of `loop` (a Telemetry)."""
    if not loop.is_open:
        errand("wifi", "join", *loop.wifi)
        loop.link.open(loop.credentials)
        loop.is_open = True
        loop.denied = 0
        log("telemetry: connected")
    if loop.inbox:
        loop.inbox.open()
    if loop.outbox:
        errand("drain", "drain", loop, *loop.keep[2:])
    firstboot.step = None
