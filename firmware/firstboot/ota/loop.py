# The telemetry loop of a board that looks for updates. MIT licence, (c) 2026 the firstboot authors.

import time
from micropython import const

from .. import errand, forget
from ..telemetry import Telemetry as _Telemetry

forget("firstboot.telemetry")

_TRIAL = const(600000)  # ms that a package on trial has to reach the server, each boot
_FAILURES = const(3)  # of read(), after which a package on trial is no good


class Telemetry(_Telemetry):
    """telemetry.py's, with `ota`: an Updates. It looks for updates when a sample was sent and it is time."""

    def left(self):
        """Milliseconds until a sample is due. Resets the board when a package on trial had its time."""
        if self.ota.trial and time.ticks_diff(time.ticks_ms(), self.ota.began) > _TRIAL:
            errand("ota.trial", "restart", self)
        return super().left()

    def _sample(self):
        ota, errors, left = self.ota, self.errors, self.left()
        super()._sample()
        if ota.trial:
            if self.errors >= _FAILURES:
                errand("ota.trial", "end", self, "read() of its app fails")
            if left <= 0 and self.errors == errors:
                errand("ota.trial", "keep", self)
        elif not ota.look or time.ticks_diff(ota.look, time.ticks_ms()) <= 0:
            ota.look = time.ticks_add(time.ticks_ms(), ota.every) or 1
            package = errand("ota.find", "find", self)
            if package:
                errand("ota.bring", "bring", self, package, super()._sample)
