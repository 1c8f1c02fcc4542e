"""A short soak: `make soak MINUTES=n` is the long one."""

import pytest

from tools.soak import Outcome, Soak

pytestmark = pytest.mark.vm


def test_nothing_gets_lost_while_everything_happens_once():
    with Soak(2, seed=3, haste=4) as soak:
        outcomes = soak.run(3)
        assert len(soak.faults) == 7 and soak.faults.total() > 8
    for outcome in outcomes:
        assert not outcome.failures, outcome
        assert outcome.sampled > 100 and outcome.outages >= 5
    assert outcomes[0].dropped == 0  # 64 KiB are enough for that
    assert all(outcome.in_doubt for outcome in outcomes)  # cuts, and acknowledgements that were lost


@pytest.mark.parametrize(
    ("missing", "dropped", "in_doubt", "failure"),
    [
        (0, 0, 0, ""),
        (3, 3, 0, ""),
        (3, 5, 2, ""),  # two of the five had reached the server
        (3, 2, 9, "3 samples missing, 2 told of as dropped"),
        (3, 6, 2, "6 told of as dropped, 3 missing and 2 not acknowledged"),
    ],
)
def test_what_is_dropped_is_neither_more_nor_less_than_what_is_missing(missing, dropped, in_doubt, failure):
    outcome = Outcome("b", 100, 100 - missing, missing, dropped, in_doubt, 0, 1, 0, True, 0, 0)
    assert outcome.failures == ([f"b: {failure}"] if failure else [])
