"""The firmware does not get fatter: what it costs, against tools/bench/budget.json."""

import pytest

from tools.bench import budget, figures
from tools.stage import Stage

pytestmark = pytest.mark.vm


def test_heap():
    with Stage() as stage:
        found = figures.heap(stage)
    assert budget.over(found) == []


def test_heap_frozen():
    with Stage(frozen=True) as stage:
        found = figures.heap(stage, "_frozen")
    assert budget.over(found) == []


def test_sizes():
    assert budget.over(figures.sizes()) == []


def test_what_is_over_the_budget_is_told():
    worse = {key: most + 1 for key, most in budget.BUDGET.items()}
    assert len(budget.over(worse)) == len(budget.BUDGET) > 3
