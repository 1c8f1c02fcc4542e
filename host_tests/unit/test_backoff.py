"""Exponential back-off with jitter."""

import os

import pytest
from firstboot.backoff import draw


def most(n):
    return b"\xff" * n


def least(n):
    return bytes(n)


def test_the_span_doubles_up_to_the_most():
    backoff = [2, 2, 30]
    assert [draw(backoff, most) for _ in range(6)] == [2000, 4000, 8000, 16000, 30000, 30000]


def test_the_shortest_wait_is_a_tenth_of_the_span():
    backoff = [2, 2, 30]
    assert [draw(backoff, least) for _ in range(6)] == [200, 400, 800, 1600, 3000, 3000]


def test_waits_are_spread_and_stay_within_the_span():
    waits = [draw([10, 10, 10], os.urandom) for _ in range(2000)]
    assert min(waits) >= 1000 and max(waits) <= 10000
    for low in range(1000, 10000, 1000):  # every second of it is used
        assert any(low <= wait <= low + 1000 for wait in waits)


@pytest.mark.parametrize(("first", "last"), [(0.01, 0.02), (0.01, 86400), (3600, 86400)])
def test_the_limits_of_the_config(first, last):
    backoff = [first, first, last]
    for _ in range(40):
        wait = draw(backoff, os.urandom)
        assert isinstance(wait, int)
        assert 0 < wait <= last * 1000
