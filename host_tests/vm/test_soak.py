"""A short soak: `make soak MINUTES=n` is the long one."""

import pytest

from tools.soak import Soak

pytestmark = pytest.mark.vm


def test_nothing_gets_lost_while_everything_happens_once():
    with Soak(2, seed=3, haste=4) as soak:
        outcomes = soak.run(3)
        assert len(soak.faults) == 7 and soak.faults.total() > 8
    for outcome in outcomes:
        assert not outcome.failures, outcome
        assert outcome.sampled > 100 and outcome.outages >= 5
    assert outcomes[0].dropped == 0  # 64 KiB are enough for that
