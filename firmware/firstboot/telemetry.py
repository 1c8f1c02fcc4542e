# The telemetry loop: sample, send, listen; mend the connection. MIT licence, (c) 2026 the firstboot authors.
#
# While there is a connection, nothing else is in memory. connect.py makes it, and mend.py keeps samples without one.

import gc
import json
import time
from micropython import const

from . import errand, feed, log
from .link import Denied

_TRIAL = const(60000)  # ms that a boot must live to be none of those that crash


class Telemetry:
    """Send what `app.read()` returns every `period` milliseconds, for ever. ready.py makes one, with its attributes."""

    def run(self):
        """Raises Denied when the server has refused the credentials often enough; returns never."""
        try:
            while True:
                try:
                    errand("connect", "connect", self)
                    while True:
                        self._sample()
                        self.link.listen(max(0, self.left()), self.inbox)
                except (Denied, OSError, MemoryError) as e:  # a server may send more than the heap holds
                    errand("mend", "lost", self, e)
        finally:
            errand("mend", "end", self)

    def left(self):
        """Milliseconds until a sample is due."""
        return time.ticks_diff(self.due, time.ticks_ms())

    def trouble(self):
        """How much has gone wrong so far: what the server is told of when it changes."""
        return self.errors + self.dropped + (self.inbox.errors if self.inbox else 0)

    def read(self):
        """The sample that is due (bytes), or None. The next one is due a period later; no burst follows a wait."""
        if self.is_trial and time.ticks_diff(time.ticks_ms(), self.began) > _TRIAL:
            self.is_trial = False
            errand("crash", "clear")
        try:
            values = self.app.read()
            if values is None:
                return None
            if not isinstance(values, dict):
                raise TypeError("read() must return a dict or None")
            return json.dumps(values).encode()
        except Exception as e:  # noqa: BLE001 - the user's code may raise anything, and must not stop the board
            errand("mend", "failed", self, e)
            return None
        finally:
            self.due = time.ticks_add(self.due, self.period)
            if self.left() < 0:
                self.due = time.ticks_ms()

    def _sample(self):
        if self.left() > 0:
            return
        self.sample = self.read()
        self.taken = time.ticks_ms()
        if self.sample is not None:
            self.link.send(self.sample)
            self.sample = None
            feed()
            self.backoff[0] = self.backoff[1]
        is_first = self.told is None
        if self.told != self.trouble():
            errand("mend", "report", self)
        if is_first:
            log("telemetry: acknowledged; heap in use", gc.mem_alloc(), "bytes")
