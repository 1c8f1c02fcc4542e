# What the telemetry loop does now and then: tell of trouble, keep samples without a server. MIT licence, (c) 2026 the
# firstboot authors.
#
# Errands of telemetry.py. Without a connection, samples go into the outbox (outbox.py), taken between the steps of
# every wait, and drain.py sends them when the server is there again.

import json
import os
import time
from micropython import const

import firstboot

from . import errand, log, pause
from .link import Denied

_REVOKED = const(5)  # refusals in a row, spaced by the back-off, until the credentials count as revoked


def lost(loop, error):
    """The connection ended with `error`: wait, sampling. Raises Denied when it is one too many."""
    if isinstance(error, Denied):
        log("telemetry: the server refuses this board:", error.args[0])
        loop.denied += 1
        if loop.rare[4] == "provision" and loop.denied >= _REVOKED:
            raise error
    else:
        log("telemetry: connection lost:", error)
    loop.link.close()
    if loop.sample is not None:
        _keep(loop, loop.sample, time.ticks_diff(time.ticks_ms(), loop.taken))
        loop.sample = None
    firstboot.step = (lambda: tick(loop)), max(10, min(1000, loop.period))
    pause(errand("backoff", "draw", loop.backoff, os.urandom))


def end(loop):
    """The loop has ended: what is in memory goes to flash."""
    firstboot.step = None
    if loop.outbox:
        loop.outbox.flush()


def tick(loop):
    """Take the sample that is due, if one is, into the outbox."""
    if loop.left() <= 0:
        payload = loop.read()
        if payload is not None:
            _keep(loop, payload, 0)
    if loop.outbox:
        loop.outbox.step()


def failed(loop, error):
    """read() raised `error`."""
    loop.errors += 1
    note(loop)
    log("app: read() failed, number", loop.errors)
    errand("trace", "trace", error)


def note(loop):
    """There is something new for report()."""
    loop.news = loop.news or True  # before the first one it has a dict


def report(loop):
    """Tell the server what it does not know yet of this board's troubles."""
    report = loop.news if isinstance(loop.news, dict) else {}
    report["read_errors"] = loop.errors
    report["dropped_samples"] = loop.dropped + (loop.outbox.dropped if loop.outbox else 0)
    if loop.inbox:
        report["handler_errors"] = loop.inbox.errors
    loop.link.report(json.dumps(report).encode())
    loop.news = False
    if loop.inbox:
        loop.inbox.news = False


def _keep(loop, payload, age):
    try:
        if not loop.outbox:
            from .outbox import Outbox  # by its name, as drain.py needs the same module

            loop.outbox = Outbox(*loop.rare[:2])
        loop.outbox.add(payload, age)
    except MemoryError:
        loop.dropped += 1
        note(loop)
        log("outbox: no memory, dropped a sample")
