# From the outbox to the server, in batches, the oldest first. MIT licence, (c) 2026 the firstboot authors.
#
# An errand of telemetry.py when there is a connection again, and of outbox.py to know what it drops. A batch is
# removed from flash after the server has acknowledged it: what a power cut catches in between is sent twice, with
# the same time, which to the server is one sample. A sample without a time gets that of its message's arrival from the
# server, and of each value it keeps one at a time: so it is a message of its own.

import gc
import time
from binascii import crc32
from micropython import const

import firstboot

from . import errand, feed, forget, log
from .link import LinkError
from .mend import note, report, tick
from .outbox import is_mark, path

_BATCH = const(900)  # bytes; a CoAP message of ThingsBoard's holds 1024 with its header
_LARGE = const(4096)  # bytes, a segment: where there is a limit on messages, and heap for that
_HEAP = const(65536)  # bytes that are free then
_POINTS = const(4096)  # values of a batch, where the server says nothing of them
_MOST = const(32)  # samples of a batch: however small they are, the heap knows of each
_HEAD = const(13)  # bytes before a record's body
_POISON = const(8)  # times that a sample may end a connection which had carried an empty one just before
_SLOWER = const(250)  # ms between two batches when the server has closed on the second one, twice that the next time
_SLOWEST = const(60000)
_APART = const(2)  # ms between two messages: the server's time of a sample without one
_CLOCK = const(3000)  # ms that a server of the time has to answer


class _Batch:
    # Samples as one message. `n`: samples in it, `end`: where the next one begins in the segment (None: there is
    # none) or in what waits, `dropped`: samples that were lost before this end.
    def __init__(self, most, points):
        self.most = most
        self.points = points
        self.samples = []
        self.size = self.n = self.keys = self.end = self.dropped = 0

    def add(self, sample):
        # False where it must wait for the next one. Colons are as many as names, or more.
        size = self.size + len(sample) + 2
        keys = self.keys + sample.count(b":")
        # What _sample() gave a time begins with this; json.dumps() has a space behind its colons.
        is_alone = sample[:11] != b'{"values":{'
        if self.n and (is_alone or size > self.most or keys > self.points or self.n >= _MOST):
            return False
        self.samples.append(sample)
        self.size = size
        self.keys = keys
        self.n += 1
        return True

    def payload(self):
        # Asked for once. The brackets come before the copy of it all, so that there is one. MemoryError.
        samples = self.samples
        if self.n == 1:
            return samples[0]
        samples[0] = b"[" + samples[0]
        samples[-1] += b"]"
        return b",".join(samples)


def drain(loop, host, port):
    """Send everything in `loop.outbox` (a Telemetry's), sampling in between; `host`, `port`: who tells the time.

    OSError and Denied as the link's verbs; what was acknowledged until then is gone from the outbox.
    """
    outbox = loop.outbox
    # Samples are taken between two batches here, and not while one is on its way: it must stay where it is.
    firstboot.step = None
    outbox.limits = None
    _clock(outbox, loop.link, host, port)
    count = sent = 0  # samples, messages
    most = _BATCH
    try:
        while outbox.segments or outbox.waiting or outbox.dropped:
            if outbox.tries:
                # A server that restarts ends the connection on this one too, and one with a limit may want a pause.
                loop.link.send(b"{}")
                _rest(loop, 1)
                sent = 1  # what ends the connection during the pause asks for no longer one
            batch = _collect(outbox, 1 if outbox.tries else most)
            if batch.n:
                try:
                    payload = batch.payload()
                except MemoryError:  # one sample is not copied, so this comes to an end
                    batch = None
                    most //= 2
                    continue
                _send(loop, batch, payload)
                # One message and no more is what a server with a limit takes of each connection.
                if count:
                    loop.backoff[0] = loop.backoff[1]
                count += batch.n
                sent = 1
            _done(outbox, batch)
            if outbox.dropped:
                loop.dropped += outbox.dropped
                note(loop)
                outbox.dropped = 0
            if batch.keys and (outbox.segments or outbox.waiting):
                _rest(loop, batch.keys)
                if loop.news or loop.inbox and loop.inbox.news:
                    report(loop)
                    _rest(loop, 1)
    except OSError:
        if sent:
            outbox.pace = min(_SLOWEST, max(_SLOWER, outbox.pace * 2) * (outbox.tries or 1))
        raise
    loop.backoff[0] = loop.backoff[1]
    if outbox.base is None:  # the next sample has no time either
        time.sleep_ms(_APART)
    log("outbox: empty, %d samples sent" % count)
    loop.outbox = None
    forget("firstboot.outbox")
    forget("firstboot.mend")
    loop.link.topic = None  # the MQTT link's buffer may shrink again


def count(outbox):
    """Of the outbox's first segment: (samples not sent yet, dropped samples that it tells of)."""
    samples = told = 0
    try:
        with open(path(outbox.segments[0]), "rb") as f:
            for body, _ in _records(f, outbox.at):
                if body and body[:1] == b"-":
                    told += _told(body)
                else:
                    samples += 1
    except (OSError, MemoryError) as e:
        log("flash: can't read samples:", e)
    return samples, told


def _send(loop, batch, payload):
    outbox = loop.outbox
    outbox.tries += 1
    if outbox.tries > _POISON:
        outbox.dropped += 1
        batch.n = 0
        log("telemetry: dropped a sample that the server would not take")
    else:
        loop.link.send(payload)
        feed()
        outbox.pace = outbox.pace * 3 // 4
    outbox.tries = 0


def _rest(loop, keys):
    # Before the next batch: as long as the server's limits want it, sampling.
    outbox, link = loop.outbox, loop.link
    if outbox.limits is None:
        outbox.limits = errand("limits", "ask", link, loop.inbox)
    _, _, message, point = outbox.limits
    end = time.ticks_add(time.ticks_ms(), int(max(_APART, outbox.pace, message, point * keys)))
    left = 1
    while left > 0:
        tick(loop)
        left = max(0, time.ticks_diff(end, time.ticks_ms()))
        link.listen(max(0, min(left, loop.left())), loop.inbox)


def _clock(outbox, link, host, port):
    # Samples without a time, and a clock that was never set: it is asked for once.
    outbox.now()
    if outbox.base is None and not outbox.has_asked:
        outbox.has_asked = True
        try:
            link.within(_CLOCK)
            errand("clock", "ensure", link, host, port)
            outbox.now()
        except LinkError as e:
            log("outbox: samples without their time:", e)


def _collect(outbox, most):
    batch = _Batch(most, _POINTS)
    if outbox.limits:
        size, batch.points, message, _ = outbox.limits
        if message and most == _BATCH and gc.mem_free() > _HEAP:
            most = _LARGE
        batch.most = min(most, size)
    if not outbox.segments:
        for record in outbox.waiting:
            if not is_mark(record) and not batch.add(_sample(outbox, record[_HEAD:], True)):
                break
            batch.end += 1
        return batch
    n = outbox.segments[0]
    batch.end = outbox.at
    try:
        with open(path(n), "rb") as f:
            for body, end in _records(f, outbox.at):
                if body is None:
                    batch.dropped += 1
                elif body[:1] == b"-":
                    if n < outbox.since:
                        batch.dropped += _told(body)
                elif not batch.add(_sample(outbox, body, n >= outbox.since)):
                    return batch
                batch.end = end
    except OSError as e:
        log("flash: can't read samples:", e)
        batch.dropped += 1
    batch.end = None
    return batch


def _done(outbox, batch):
    outbox.dropped += batch.dropped
    if not outbox.segments:
        outbox.forget(batch.end)
    elif batch.end is None:
        outbox.remove()
    else:
        outbox.at = batch.end


def _sample(outbox, body, is_ours):
    # A record's body as the server wants it, with the time where that is known.
    i = body.find(b",")
    stamp, values = body[:i], body[i + 1 :]
    try:
        ms = int(stamp)
        if stamp[:1] == b"+":
            ms = outbox.base + ms if is_ours and outbox.base is not None else None
    except ValueError:
        ms = None
    return values if ms is None else b'{"values":%s,"ts":%d}' % (values, ms)


def _told(body):
    try:
        return int(body[1:])
    except ValueError:
        return 0


def _records(f, at):
    # Yields (body, where the next one begins); body None for what is damaged.
    size = f.seek(0, 2)
    is_damaged = False
    while at < size:
        f.seek(at)
        head = f.read(_HEAD)
        body = _body(f, head, size - at - _HEAD)
        if body:
            if is_damaged:
                yield None, at
                is_damaged = False
            at += _HEAD + len(body)
            yield body, at
        else:
            is_damaged = True
            i = head.find(b"\x1e", 1)
            at += i if i > 0 else len(head)
    if is_damaged:
        yield None, size


def _body(f, head, left):
    try:
        size = int(head[1:5], 16)
        if head[:1] == b"\x1e" and 0 < size <= left:
            body = f.read(size)
            if crc32(body) == int(head[5:], 16):
                return body
    except ValueError:
        pass
    except MemoryError:
        if left <= _LARGE:  # there will be room another time
            raise
