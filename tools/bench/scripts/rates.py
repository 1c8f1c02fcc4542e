# How often a second: the candidates in turn, so that what else the machine does falls on all of them.

import gc
import time

_ROUNDS = 5


def measure(*candidates):
    """Rates by name, one a round. A candidate: (name, function, how many calls a round)."""
    rates = {name: [] for name, _, _ in candidates}
    for _ in range(_ROUNDS):
        for name, call, times in candidates:
            gc.collect()
            began = time.ticks_us()
            for _ in range(times):
                call()
            rates[name].append(times * 1e6 / time.ticks_diff(time.ticks_us(), began))
    return rates
