# The telemetry loop: sample, send, listen; mend the connection. MIT licence, (c) 2026 the firstboot authors.
#
# While there is a connection, nothing else is in memory. Without one, samples go into the outbox (outbox.py), taken
# between the steps of every wait, and drain.py sends them when the server is there again.

import gc
import json
import time
from micropython import const

from . import errand, wait
from .link import Denied
from .log import log

_REVOKED = const(5)  # refusals in a row, spaced by the back-off, until the credentials count as revoked
_TRIAL = const(60000)  # ms that a boot must live to be none of those that crash
_SLOWEST = const(60000)  # ms between two batches to a server that closes on them


class Telemetry:
    """Send what `app.read()` returns every `period` seconds, for ever.

    `app`: the user's module, or None where it could not be imported. `inbox`: what hears the server, or None.
    `link` may be open already (`is_open`). `wifi`: the arguments of wifi.join(). `revoked`: "provision" ends the
    loop when the credentials are refused, "wait" tries on. `outbox`: an Outbox with what an earlier boot could not
    send, or None; `keep`: the arguments of Outbox(), and of drain() after the loop. `notes`: more attributes for the
    first report. `is_trial`: whether a crash in the first minute counts.
    """

    def __init__(
        self, app, inbox, link, credentials, is_open, wifi, backoff, period, revoked, outbox, keep, notes, is_trial
    ):
        self.app = app
        self.inbox = inbox
        self.link = link
        self.credentials = credentials
        self.is_open = is_open
        self.wifi = wifi
        self.backoff = backoff
        self.period = int(period * 1000)
        self.revoked = revoked
        self.outbox = outbox
        self.keep = keep
        self.notes = notes
        self.is_trial = is_trial
        self.sample = self.told = None
        self.denied = self.errors = self.tries = self.dropped = self.taken = 0
        self.due = self.began = time.ticks_ms()

    def run(self):
        """Raises Denied when the server has refused the credentials often enough; returns never."""
        try:
            while True:
                try:
                    self._work()
                except Denied as e:
                    log("telemetry: the server refuses this board:", e.args[0])
                    self.denied += 1
                    if self.revoked == "provision" and self.denied >= _REVOKED:
                        raise
                except (OSError, MemoryError) as e:  # what a server sends may be more than the heap holds
                    log("telemetry: connection lost:", e)
                self._lost()
                wait.pause(self.backoff.next())
        finally:
            wait.step = None
            if self.outbox:
                self.outbox.flush()

    def left(self):
        """Milliseconds until a sample is due."""
        return time.ticks_diff(self.due, time.ticks_ms())

    def tick(self):
        """Take the sample that is due, if one is, into the outbox."""
        if self.left() <= 0:
            payload = self._read()
            if payload is not None:
                self._keep(payload, 0)
        if self.outbox:
            self.outbox.step()

    def report(self):
        """Tell the server what it does not know yet of this board's troubles."""
        dropped = self.dropped + (self.outbox.dropped if self.outbox else 0)
        trouble = (self.errors, dropped, self.inbox and self.inbox.errors)
        if self.told != trouble:
            report = self.notes or {}
            report.update(read_errors=self.errors, dropped_samples=dropped)
            if self.inbox:
                report["handler_errors"] = self.inbox.errors
            self.link.report(json.dumps(report).encode())
            self.told = trouble
            self.notes = None

    def _work(self):
        # A connection's whole life.
        if not self.is_open:
            errand("wifi", "join", *self.wifi)
            self.link.open(self.credentials)
            self.is_open = True
            self.denied = 0
            self.told = None
            log("telemetry: connected")
        if self.inbox:
            self.inbox.open()
        if self.outbox:
            errand("drain", "drain", self, *self.keep[2:])
        wait.step = None
        is_first = True
        while True:
            if self.left() <= 0:
                self.sample = self._read()
                self.taken = time.ticks_ms()
                if self.sample is not None:
                    self.link.send(self.sample)
                    self.sample = None
                    wait.feed()
                    self.backoff.reset()
                if is_first:
                    gc.collect()
                    log("telemetry: acknowledged; heap in use", gc.mem_alloc(), "bytes")
                    is_first = False
                self.report()
            self.link.listen(max(0, self.left()), self.inbox)

    def _lost(self):
        self.link.close()
        self.is_open = False
        if self.tries:
            self.outbox.pace = min(_SLOWEST, max(250, self.outbox.pace * 2))
        if self.sample is not None:
            self._keep(self.sample, time.ticks_diff(time.ticks_ms(), self.taken))
            self.sample = None
        wait.step = self.tick
        wait.most = max(10, min(1000, self.period))

    def _keep(self, payload, age):
        try:
            if not self.outbox:
                from .outbox import Outbox

                self.outbox = Outbox(*self.keep[:2])
            self.outbox.add(payload, age)
        except MemoryError:
            self.dropped += 1
            log("outbox: no memory, dropped a sample")

    def _read(self):
        # The sample as bytes, or None. The next one is due a period later, and no burst follows a long wait.
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
            self.errors += 1
            log("app: read() failed, number", self.errors)
            errand("trace", "trace", e)
            return None
        finally:
            self.due = time.ticks_add(self.due, self.period)
            if self.left() < 0:
                self.due = time.ticks_ms()
