# How the telemetry loop gets its connection. MIT licence, (c) 2026 the firstboot authors.
#
# An errand of telemetry.py of its own: a connection's handshake needs the heap more than anything that follows.

import firstboot

from . import errand, log


def connect(loop):
    """Be connected, and have sent what an outage has left in the outbox of `loop` (a Telemetry)."""
    if not loop.link.sock:
        errand("wifi", "join", *loop.rare[5])
        loop.link.open(loop.credentials)
        loop.denied = 0
        log("telemetry: connected")
    if loop.inbox:
        loop.inbox.open()
    if loop.outbox:
        errand("drain", "drain", loop, *loop.rare[2:4])
    firstboot.step = None
