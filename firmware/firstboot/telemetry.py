# The telemetry loop: sample, send, listen; mend the connection. MIT licence, (c) 2026 the firstboot authors.
#
# While there is a connection, nothing else is in memory. connect.py makes it, and mend.py keeps samples without one.

import gc
import json
import time

from . import errand, feed, log
from .link import Denied


class Telemetry:
    """Send what `app.read()` returns every `period` milliseconds, for ever. loop.py makes one, with its attributes.

    `news`: whether there is trouble that the server has not been told of; before the first report a dict, what it is
    told besides. `trial`: until when (ticks) a crash counts, or 0. `is_heard`: whether the log has said that the
    server acknowledges samples. A MicroPython object's attributes lie in a table of 17 places, or of 23: one more would
    take 48 bytes.
    """

    def run(self):
        """Raises Denied when the server has refused the credentials often enough; returns never. mend.end() is next."""
        while True:
            try:
                errand("connect", "connect", self)
                while True:
                    self._sample()
                    # On trial a minute at the most: left() is to see its end, however long the period.
                    self.link.listen(max(0, min(self.left(), 60000 if self.trial else self.period)), self.inbox)
            except (Denied, OSError, MemoryError) as e:  # a server may send more than the heap holds
                errand("mend", "lost", self, e)

    def left(self):
        """Milliseconds until a sample is due. A boot that has lived for a minute no longer counts as crashed."""
        now = time.ticks_ms()
        if self.trial and time.ticks_diff(now, self.trial) > 0:
            self.trial = 0
            errand("crash", "clear")
        return time.ticks_diff(self.due, now)

    def read(self):
        """The sample that is due (bytes), or None. The next one is due a period later; no burst follows a wait."""
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
        feed()  # also where there is no sample, and no wait before the next one
        is_sent = self.sample is not None
        if is_sent:
            self.link.send(self.sample)
            self.sample = None
            self.backoff[0] = self.backoff[1]
        if self.news or self.inbox and self.inbox.news:
            errand("mend", "report", self)
        if is_sent and not self.is_heard:
            self.is_heard = True
            log("telemetry: acknowledged; heap in use", gc.mem_alloc(), "bytes")
