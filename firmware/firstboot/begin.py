# From the power-up to the telemetry loop: the order of things. MIT licence, (c) 2026 the firstboot authors.
#
# Not a part of run(): MicroPython keeps alive what a frame's stack ever held, 7 KB of code and config here.

from micropython import const

from . import errand

_VERIFIED = const(0x40)  # store.VERIFIED


def begin(app):
    """Boot, provision where the board has no identity yet; returns the Telemetry. `app`: as run() has it."""
    slots, server, wifi, backoff, config, first = errand("boot", "boot")
    store = errand("store", "Store", slots)
    store.hide()
    is_first = store.state != _VERIFIED
    if is_first:
        link = errand("enrol", "enrol", store, server, wifi, backoff, first).run()
        link, who = link.link, link.who
    credentials = store.credentials
    store = None  # and its code
    crashes = errand("crash", "begin")
    config = errand("ready", "ready", app, crashes, *config)  # what the loop needs of it
    if not is_first:
        link, who = errand("server_link", "link", server, credentials)
    return errand("loop", "telemetry", link, who, wifi, backoff, *config)
