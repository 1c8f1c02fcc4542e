# Waiting without losing the watchdog. MIT licence, (c) 2026 the firstboot authors.

import time
from micropython import const

_STEP = const(1000)  # ms between two feedings

watchdog = None  # what board.watch() started


def feed():
    """Tell the watchdog that a step of a bounded wait, or a round trip, is done. Never called by a timer."""
    if watchdog:
        watchdog.feed()


def pause(ms):
    """Sleep for `ms` milliseconds, feeding the watchdog."""
    while ms > 0:
        time.sleep_ms(min(ms, _STEP))
        ms -= _STEP
        feed()
