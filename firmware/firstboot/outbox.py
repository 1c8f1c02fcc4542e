# Samples on flash until the server has acknowledged them. MIT licence, (c) 2026 the firstboot authors.
#
# In memory from the first sample that can't be sent until the last one has been. What is written here is read by
# drain.py. A segment is a file "outbox.N"; N grows. A record is 0x1e, the length of its body (4 hex digits), the
# CRC-32 of it (8), and the body:
#   <stamp>,<JSON>  a sample; the stamp is its time in ms since 1970, or + and the ms of this outbox's own clock
#                   where the board's was not set
#   -<number>       so many samples were dropped here
# Neither has a byte below 0x20, so a reader finds the record behind a damaged one.

import os
import time
from binascii import crc32
from micropython import const

from . import errand, log

_SEGMENT = const(4096)  # bytes, a flash block; what is dropped is dropped by the segment
_FULL = const(1024)  # bytes that wait for the next write, and make it come early
_MOST = const(2048)  # bytes that wait where nothing can be written
_NEVER = const(1048576)  # bytes: more than ever wait
_ENOSPC = const(28)  # MicroPython's errno does not have it
_ENAMETOOLONG = const(36)  # littlefs: no room for one more name
_SANE = const(2025)  # a clock of an earlier year was never set
_START = const(1000000)  # ms, our clock's beginning: a sample may be a little older than the outbox


class Outbox:
    """Keeps samples in at most `budget` bytes of flash (0: a little RAM and no flash), the oldest dropped first.

    `rest`: ms between two writes to flash; where samples come faster, there is one for each KiB of them.
    `dropped`: samples dropped, with those that an earlier boot could not tell of.
    """

    def __init__(self, budget, rest):
        self.budget = budget
        self.rest = rest
        self.segment = min(_SEGMENT, budget // 4)
        self.segments = sorted([int(name[7:]) for name in os.listdir() if name[:7] == "outbox." and name[7:].isdigit()])
        self.total = sum([os.stat(path(n))[6] for n in self.segments])
        self.since = self.next = self.segments[-1] + 1 if self.segments else 0  # our first segment, our next
        self.size = 0  # of the segment before the next, if it is ours and there is room in it
        self.at = 0  # in the first segment: what is before this was acknowledged
        self.waiting = []  # records that are not on flash yet
        self.bytes = self.dropped = self.newest = 0
        self.base = None  # ms since 1970 when our clock was 0, as soon as the board's clock is set
        self.up = _START
        self.ticks = time.ticks_ms()
        self.wrote = _START - rest  # by our clock
        self.full = _FULL
        self.limits = None  # limits.py's answer
        self.pace = 0  # ms between two batches, found out by being closed on
        self.has_asked = False  # for the time
        self.tries = 0  # connections that ended on the sample which is the next

    def now(self):
        """Our own clock in ms: does not wrap, and goes on when the board's is set."""
        ticks = time.ticks_ms()
        self.up += time.ticks_diff(ticks, self.ticks)
        self.ticks = ticks
        if self.base is None and time.gmtime()[0] >= _SANE:
            # Some ports count from 2000. In whole seconds, two outboxes of a boot might give the same time twice.
            epoch = 946684800000 if time.gmtime(0)[0] == 2000 else 0
            self.base = time.time_ns() // 1000000 + epoch - self.up
        return self.up

    def add(self, payload, age=0):
        """Keep a sample (bytes of JSON) that was taken `age` ms ago."""
        # No two samples have the same time: the server would keep one of them.
        self.newest = up = max(self.now() - age, self.newest + 1)
        if len(payload) > 0xFF00:
            self.dropped += 1
        else:
            stamp = b"+%d" % up if self.base is None else b"%d" % (self.base + up)
            self._record(len(self.waiting), stamp + b"," + payload)
            self.step()

    def step(self):
        """Write what waits, if it is time for that."""
        # The clock is looked at in any case: it would miss a wrap of the ticks, after six days without a sample.
        if self.now() - self.wrote >= self.rest and self.waiting or self.bytes >= self.full:
            self.flush()
        while self.bytes > _MOST:
            self.dropped += not is_mark(self.waiting[0])
            self.forget(1)

    def flush(self):
        """Write what waits, now."""
        while self.segments and 0 < self.bytes <= self.budget < self.total + self.bytes:
            self._drop()
        while 0 < self.bytes <= self.budget:
            n = self.next - 1 if 0 < self.size <= self.segment - self.bytes else self.next
            try:
                # Littlefs keeps all of an append or nothing: it counts from close() on.
                with open(path(n), "ab") as f:
                    for record in self.waiting:
                        f.write(record)
            except OSError as e:
                log("flash: can't keep samples:", e)
                self.size = 0
                if e.errno in (_ENOSPC, _ENAMETOOLONG) and self.segments:
                    self._drop()
                    continue
                # It may be so for long, and a try wears the flash too: the next is after `rest`.
                self.wrote = self.up
                self.full = _NEVER
                return
            if n == self.next:
                self.next += 1
                self.size = 0
                self.segments.append(n)
            self.size += self.bytes
            self.total += self.bytes
            self.wrote = self.up
            self.full = _FULL
            self.forget(len(self.waiting))

    def forget(self, n):
        """The first `n` records that wait are with the server."""
        for record in self.waiting[:n]:
            self.bytes -= len(record)
        del self.waiting[:n]

    def remove(self):
        """The first segment's samples are with the server, or dropped."""
        n = self.segments.pop(0)
        self.at = 0
        if n == self.next - 1:
            self.size = 0
        try:
            self.total -= os.stat(path(n))[6]
            os.remove(path(n))
        except OSError as e:
            log("flash: can't remove", path(n), e)

    def _record(self, i, body):
        record = b"\x1e%04x%08x" % (len(body), crc32(body)) + body
        self.waiting.insert(i, record)
        self.bytes += len(record)

    def _drop(self):
        is_ours = self.segments[0] >= self.since
        samples, told = errand("drain", "count", self)
        log("outbox: full, dropped the %d oldest samples" % samples)
        self.dropped += samples if is_ours else samples + told
        self.remove()
        # Should this boot end before it can tell, the next one does.
        self._record(0, b"-%d" % (samples + told))


def path(n):
    """The name of a segment."""
    return "outbox.%d" % n


def is_mark(record):
    """Whether a record is no sample, but tells of dropped ones."""
    return record[13:14] == b"-"
