"""How much of the fault suites runs: a seeded sample with `make test`, all of it with FAULTS=all (`make faults`)."""

import os
import random

ALL = os.environ.get("FAULTS") == "all"
SEED = 4711


def some(cases, share, key="", most=1):
    """`share` of `cases` (at least one), drawn with a seed that `key` is part of; with FAULTS=all, `most` of them."""
    cases = list(cases)
    share = most if ALL else share
    if share == 1 or not cases:
        return cases
    count = max(1, round(len(cases) * share))
    chosen = random.Random(f"{SEED}/{key}").sample(range(len(cases)), count)
    return [cases[i] for i in sorted(chosen)]
