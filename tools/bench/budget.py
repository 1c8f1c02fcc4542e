"""What the firmware may cost at most: budget.json. Who makes it cheaper lowers the budget with it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

BUDGET: dict[str, float] = json.loads((Path(__file__).parent / "budget.json").read_text())


def over(figures: Mapping[str, float]) -> list[str]:
    """What is worse than its budget, a sentence each."""
    return [
        f"{key} is {figures[key]:,} and its budget {most:,}"
        for key, most in BUDGET.items()
        if key in figures and figures[key] > most
    ]
