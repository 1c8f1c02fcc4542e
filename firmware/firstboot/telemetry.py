# The telemetry loop: sample, send, listen; mend the connection. MIT licence, (c) 2026 the firstboot authors.

import gc
import json
import time
from micropython import const

from . import __version__, errand
from .link import Denied
from .log import log
from .wait import pause

_REVOKED = const(5)  # refusals in a row, spaced by the back-off, until the credentials count as revoked
_POISON = const(5)  # times that a sample may end a connection which had been accepted just before


class Telemetry:
    """Send what `app.read()` returns every `period` seconds, for ever.

    `app`: the user's module, or None where it could not be imported. `inbox`: what hears the server, or None.
    `link` may be open already (`is_open`). `wifi`: the arguments of wifi.join(). `revoked`: "provision" ends the
    loop when the credentials are refused, "wait" tries on.
    """

    def __init__(self, app, inbox, link, credentials, is_open, wifi, backoff, period, revoked):
        self.app = app
        self.inbox = inbox
        self.link = link
        self.credentials = credentials
        self.is_open = is_open
        self.wifi = wifi
        self.backoff = backoff
        self.period = int(period * 1000)
        self.revoked = revoked
        self.sample = self.reported = None
        self.denied = self.errors = self.tries = self.dropped = 0

    def run(self):
        """Raises Denied when the server has refused the credentials often enough; returns never."""
        due = time.ticks_ms()
        while True:
            try:
                if not self.is_open:
                    self._open()
                if self.reported is None and self.inbox:
                    self.inbox.open()
                self._send()
                due = time.ticks_add(due, self.period)
                left = time.ticks_diff(due, time.ticks_ms())
                if left < 0:  # an outage or a slow read(): no burst to make up for it
                    due = time.ticks_add(due, -left)
                    left = 0
                self.link.listen(left, self.inbox)
                continue
            except Denied as e:
                log("telemetry: the server refuses this board:", e.args[0])
                self.denied += 1
                if self.revoked == "provision" and self.denied >= _REVOKED:
                    raise
            except OSError as e:
                log("telemetry: connection lost:", e)
            self.link.close()
            self.is_open = False
            pause(self.backoff.next())

    def _open(self):
        errand("wifi", "join", *self.wifi)
        self.link.open(self.credentials)
        self.is_open = True
        self.denied = 0
        self.reported = None
        log("telemetry: connected")

    def _send(self):
        if self.sample is None:
            self.sample = self._read()
        if self.sample is not None:
            self.tries += 1
            if self.tries > _POISON:
                # Not the network's fault: the server lets the board in and closes on this very sample.
                self.dropped += 1
                log("telemetry: dropped a sample that the server would not take")
            else:
                self.link.send(self.sample)
            self.sample = None
            self.tries = 0
            self.backoff.reset()
        trouble = (self.errors, self.dropped, self.inbox and self.inbox.errors)
        if self.reported != trouble:
            if self.reported is None:
                gc.collect()
                log("telemetry: acknowledged; heap in use", gc.mem_alloc(), "bytes")
            self.reported = trouble
            report = {"firstboot_version": __version__, "read_errors": self.errors, "dropped_samples": self.dropped}
            if self.inbox:
                report["handler_errors"] = self.inbox.errors
            self.link.report(json.dumps(report).encode())

    def _read(self):
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
