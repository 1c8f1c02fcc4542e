"""Exponential back-off with jitter."""

import os

import pytest
from firstboot.backoff import Backoff


def most(n):
    return b"\xff" * n


def least(n):
    return bytes(n)


def test_the_span_doubles_up_to_the_most():
    backoff = Backoff(2, 30, most)
    assert [backoff.next() for _ in range(6)] == [2000, 4000, 8000, 16000, 30000, 30000]


def test_the_shortest_wait_is_a_tenth_of_the_span():
    backoff = Backoff(2, 30, least)
    assert [backoff.next() for _ in range(6)] == [200, 400, 800, 1600, 3000, 3000]


def test_reset_starts_again():
    backoff = Backoff(1, 60, most)
    for _ in range(5):
        backoff.next()
    backoff.reset()
    assert backoff.next() == 1000


def test_waits_are_spread_and_stay_within_the_span():
    backoff = Backoff(10, 10, os.urandom)
    waits = [backoff.next() for _ in range(2000)]
    assert min(waits) >= 1000 and max(waits) <= 10000
    for low in range(1000, 10000, 1000):  # every second of it is used
        assert any(low <= wait <= low + 1000 for wait in waits)


@pytest.mark.parametrize(("first", "last"), [(0.01, 0.02), (0.01, 86400), (3600, 86400)])
def test_the_limits_of_the_config(first, last):
    backoff = Backoff(first, last, os.urandom)
    for _ in range(40):
        wait = backoff.next()
        assert isinstance(wait, int)
        assert 0 < wait <= last * 1000
