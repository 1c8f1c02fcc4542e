"""How much of the fault suites runs: a seeded sample with `make test`, all of it with FAULTS=all (`make faults`)."""

import os
import random

ALL = os.environ.get("FAULTS") == "all"
SEED = 4711


def some(cases, share, key=""):
    """All of `cases`, or `share` of them (at least one), drawn with a seed that `key` is part of."""
    cases = list(cases)
    if ALL or not cases:
        return cases
    count = max(1, round(len(cases) * share))
    chosen = random.Random(f"{SEED}/{key}").sample(range(len(cases)), count)
    return [cases[i] for i in sorted(chosen)]
