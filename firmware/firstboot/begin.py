# From the power-up to the telemetry loop: the order of things. MIT licence, (c) 2026 the firstboot authors.
#
# Not a part of run(): MicroPython keeps alive what a frame's stack ever held, 7 KB of code and config here.

from . import errand


def begin(app):
    """Boot, provision where the board has no identity yet; returns the Telemetry. `app`: as run() has it."""
    config, store, link, wifi, backoff, is_first = errand("boot", "boot")
    if is_first:
        errand("enrol", "enrol", config, store, link, wifi, backoff).run()
    credentials = store.credentials
    store = None  # and its code
    crashes = errand("crash", "begin")
    config = errand("ready", "ready", app, config, link, crashes)  # what the loop needs of it
    return errand("loop", "telemetry", link, credentials, wifi, backoff, *config)
