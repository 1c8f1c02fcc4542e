# The telemetry loop: sample, send, listen; mend the connection. MIT licence, (c) 2026 the firstboot authors.

import gc
import json
import time
from micropython import const

from . import board, wifi
from .link import Denied
from .log import log, trace
from .store import CANDIDATE
from .version import VERSION

_REVOKED = const(5)  # refusals in a row, spaced by the back-off, until the credentials count as revoked
_POISON = const(5)  # times that a sample may end a connection which had been accepted just before


class Telemetry:
    """Send what `app.read()` returns every `period` seconds, for ever.

    `app`: the user's module, or None where it could not be imported; `link` may be open already (`is_open`).
    """

    def __init__(self, app, link, store, config, backoff, is_open):
        self.app = app
        self.link = link
        self.store = store
        self.config = config
        self.backoff = backoff
        self.is_open = is_open
        self.period = int(config["period"] * 1000)
        self.sample = None
        self.denied = self.errors = self.tries = self.dropped = 0
        self.reported = None
        self.first = True
        self.inbox = None

    def run(self):
        """Never returns. A refused identity is handed back to provisioning by a reset, if the config says so."""
        due = time.ticks_ms()
        while True:
            try:
                if not self.is_open:
                    self._open()
                self._send()
                due = time.ticks_add(due, self.period)
                left = time.ticks_diff(due, time.ticks_ms())
                if left < 0:  # an outage or a slow read(): no burst to make up for it
                    due = time.ticks_add(due, -left)
                self.link.listen(max(0, left), self.inbox)
                continue
            except Denied as e:
                log("telemetry: the server refuses this board:", e.args[0])
                self._refused()
            except OSError as e:
                log("telemetry: connection lost:", e)
            self.link.close()
            self.is_open = False
            board.pause(self.backoff.next())

    def _open(self):
        config = self.config
        wifi.join(config["wifi.ssid"], config["wifi.password"], config["wifi.timeout"])
        gc.collect()
        self.link.open(self.store.credentials)
        self.is_open = self.first = True
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
            if self.first:
                self.first = False
                gc.collect()
                log("telemetry: acknowledged; heap in use", gc.mem_alloc(), "bytes")
        if self.reported != (self.errors, self.dropped):
            self.reported = (self.errors, self.dropped)
            report = {"firstboot_version": VERSION, "read_errors": self.errors, "dropped_samples": self.dropped}
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
            trace(e)
            return None

    def _refused(self):
        self.denied += 1
        if self.denied < _REVOKED or self.config["revoked"] != "provision":
            return
        log("telemetry: refused %d times, provisioning anew" % self.denied)
        # With the same credentials: should the server know them again one day, they are still good.
        self.store.save(CANDIDATE, self.store.credentials)
        board.reset()
