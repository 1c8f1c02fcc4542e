"""Rate limits of a device, in ThingsBoard's form "20:1,600:60" (count:seconds, every part holds; contract 3 and 10)."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Any


class Limited(Exception):
    """A device is over its limit."""


class Bucket:
    """Tokens that come back evenly: `count` in `seconds`. ValueError for a text that is none."""

    def __init__(self, text: str) -> None:
        parts = [part.split(":") for part in text.split(",")]
        try:
            self.rates = [(int(count), float(seconds)) for count, seconds in parts]
        except ValueError:
            raise ValueError(f"{text!r} is no rate limit such as 20:1,600:60") from None
        self._left = [float(count) for count, _ in self.rates]
        self._then = time.monotonic()

    def take(self, count: int) -> bool:
        """Take tokens from every rate, or from none."""
        now = time.monotonic()
        passed, self._then = now - self._then, now
        for i, (most, seconds) in enumerate(self.rates):
            self._left[i] = min(most, self._left[i] + passed * most / seconds)
        if min(self._left) < count:
            return False
        self._left = [left - count for left in self._left]
        return True


@dataclass
class Limits:
    """What each device may send; None is unlimited, as in a bare tenant profile."""

    messages: str | None = None  # whatever has no data point: connects, subscriptions, requests, replies
    telemetry_messages: str | None = None
    telemetry_points: str | None = None
    _buckets: dict[tuple[str, str], Bucket] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for text in (self.messages, self.telemetry_messages, self.telemetry_points):
            if text:
                Bucket(text)

    def check(self, device_id: str, points: int = 0) -> None:
        """Count one message; Limited."""
        if points:
            allowed = self._take(device_id, "telemetry_messages", 1) and self._take(
                device_id, "telemetry_points", points
            )
        else:
            allowed = self._take(device_id, "messages", 1)
        if not allowed:
            raise Limited("rate limit")

    def _take(self, device_id: str, which: str, count: int) -> bool:
        text = getattr(self, which)
        if not text:
            return True
        return self._buckets.setdefault((device_id, which), Bucket(text)).take(count)

    def document(self) -> dict[str, Any]:
        """As the answer to `getSessionLimits` has them."""
        return {
            "messages": self.messages,
            "telemetryMessages": self.telemetry_messages,
            "telemetryDataPoints": self.telemetry_points,
        }
