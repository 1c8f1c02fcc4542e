# Waiting without losing the watchdog. MIT licence, (c) 2026 the firstboot authors.

import time

watchdog = None  # what board.watch() started
step = None  # called at every step of a wait while the server is away: telemetry samples on
most = 1000  # ms between two steps


def feed():
    """Tell the watchdog that a step of a bounded wait, or a round trip, is done. Never called by a timer."""
    if watchdog:
        watchdog.feed()
    if step:
        step()


def pause(ms):
    """Sleep for `ms` milliseconds, feeding the watchdog."""
    while ms > 0:
        time.sleep_ms(min(ms, most))
        ms -= most
        feed()
