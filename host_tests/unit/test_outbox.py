"""The outbox and its draining: what is kept, in which order, at which time, and what is dropped by which rule."""

import builtins
import contextlib
import errno
import json
import os
import random

import firstboot
import micro
import pytest
from firstboot import drain, limits, outbox
from firstboot.link import LinkError
from firstboot.outbox import Outbox

EPOCH = 1_800_000_000
MINUTE = 60_000


class Clock:
    """The board's time: `now` in ms since power-up, and whether somebody has set the clock."""

    def __init__(self, monkeypatch):
        self.now = 1_000
        self.is_set = True
        real = micro.time.gmtime
        monkeypatch.setattr(micro.time, "ticks_ms", lambda: self.now)
        monkeypatch.setattr(micro.time, "time_ns", self.time_ns)
        monkeypatch.setattr(micro.time, "gmtime", lambda *seconds: real(*(seconds or (self.time(),))))

    def time(self):
        return self.time_ns() // 1_000_000_000

    def time_ns(self):
        return self.now * 1_000_000 + (EPOCH * 1_000_000_000 if self.is_set else 0)


@pytest.fixture(autouse=True)
def clock(monkeypatch):
    """A clock that the test moves; what drain() wants of mend.py, it has from a Loop."""
    monkeypatch.setattr(drain, "tick", lambda loop: loop.tick())
    monkeypatch.setattr(drain, "report", lambda loop: loop.report())
    return Clock(monkeypatch)


@pytest.fixture(autouse=True)
def asked(monkeypatch):
    """What the server says of its limits, and how often it was asked."""
    answer_limits(monkeypatch)


def answer_limits(monkeypatch):
    """Have Asking in the place of limits.py."""
    monkeypatch.setattr(Asking, "limits", (65536, 65536, 0, 0))
    monkeypatch.setattr(Asking, "times", 0)
    real = drain.errand
    monkeypatch.setattr(drain, "errand", lambda *what: Asking.ask() if what[0] == "limits" else real(*what))


class Asking:
    """Stands in the place of limits.py."""

    limits = None
    times = 0

    @classmethod
    def ask(cls):
        cls.times += 1
        return cls.limits


class Loop:
    """What drain() knows of a Telemetry, over a link that takes what it is given, or fails."""

    def __init__(self, box, clock, fails=0, limits=None):
        self.outbox = box
        self.clock = clock
        self.link = self
        self.inbox = None
        self.dropped = 0
        self.news = False
        self.backoff = [1, 1, 1]
        self.fails = fails
        self.payloads = []
        self.pauses = []
        self.ticks = lambda: None
        if limits:
            Asking.limits = limits
        self.topic = b""
        self.timeout = 1000

    def run(self):
        drain.drain(self, "127.0.0.1", 1)
        return self.samples()

    def samples(self):
        """(ts or None, values) of everything that was sent, in order."""
        found = []
        for payload in self.payloads:
            doc = json.loads(payload)
            for sample in doc if isinstance(doc, list) else [doc]:
                found.append((sample["ts"], sample["values"]) if "values" in sample else (None, sample))
        return found

    def numbers(self):
        return [values["n"] for _, values in self.samples()]

    # The link's part

    def send(self, payload):
        assert isinstance(payload, bytes) and payload != b"[]"
        if self.fails:
            self.fails -= 1
            raise LinkError("closed")
        if payload != b"{}":
            self.payloads.append(payload)

    def within(self, ms):
        pass

    def listen(self, ms, handler=None):
        self.pauses.append(ms)
        self.clock.now += ms

    # The loop's

    def left(self):
        return 1000

    def tick(self):
        self.ticks()

    def report(self):
        self.news = False


def fill(box, clock, count, first=0, step=MINUTE, size=0):
    for n in range(first, first + count):
        box.add(json.dumps({"n": n, **({"x": "y" * size} if size else {})}).encode())
        clock.now += step


def files():
    return sorted((name for name in os.listdir() if name.startswith("outbox.")), key=lambda name: int(name[7:]))


def test_samples_come_out_in_order_with_their_times(clock):
    box = Outbox(65536, MINUTE)
    began = clock.now
    fill(box, clock, 200, step=100)
    loop = Loop(box, clock)
    samples = loop.run()
    assert [values["n"] for _, values in samples] == list(range(200))
    assert [ts for ts, _ in samples] == [EPOCH * 1000 + began + n * 100 for n in range(200)]
    assert not files() and loop.outbox is None and loop.dropped == 0
    assert len(loop.payloads) < 20 and all(len(payload) <= 900 for payload in loop.payloads)


def test_samples_of_the_same_moment_have_times_of_their_own(clock):
    box = Outbox(65536, MINUTE)
    fill(box, clock, 20, step=0)
    times = [ts for ts, _ in Loop(box, clock).run()]
    assert len(set(times)) == 20 and times == sorted(times)


def test_what_one_boot_could_not_send_the_next_one_does(clock):
    fill(Outbox(65536, 0), clock, 50)
    box = Outbox(65536, 0)
    fill(box, clock, 50, first=50)
    loop = Loop(Outbox(65536, 0), clock)
    samples = loop.run()
    assert [values["n"] for _, values in samples] == list(range(100))
    assert all(ts for ts, _ in samples)
    assert not files()


def test_what_is_not_acknowledged_stays(clock):
    box = Outbox(65536, 0)
    fill(box, clock, 100)
    loop = Loop(box, clock)
    real, left = loop.send, [2]

    def send(payload):
        if not left[0]:
            raise LinkError("closed")
        left[0] -= 1
        real(payload)

    loop.send = send
    with pytest.raises(LinkError):
        loop.run()
    loop.send = real
    firstboot.step = None
    assert loop.run() and loop.numbers() == list(range(100))


@pytest.mark.parametrize("most", [1, 3])
def test_a_batch_that_the_heap_has_no_room_for_is_halved(clock, monkeypatch, most):
    box = Outbox(65536, 0)
    fill(box, clock, 100)
    real, sizes = drain._Batch.payload, []

    def payload(batch):
        if batch.n > most:
            raise MemoryError
        sizes.append(batch.n)
        return real(batch)

    monkeypatch.setattr(drain._Batch, "payload", payload)
    loop = Loop(box, clock)
    assert loop.run() and loop.numbers() == list(range(100))
    assert max(sizes) <= most and not loop.dropped


def test_a_reset_in_the_middle_of_draining_costs_no_sample(clock):
    # At whichever batch: what counts is the one with which a segment ends.
    for cut in range(9):
        box = Outbox(65536, 0)
        fill(box, clock, 300)
        loop = Loop(box, clock)
        sent = []

        def send(payload, sent=sent, cut=cut):
            if len(sent) == cut:
                raise KeyboardInterrupt
            sent.append(payload)

        loop.send = send
        with pytest.raises(KeyboardInterrupt):
            loop.run()
        again = Loop(Outbox(65536, 0), clock)
        again.payloads = sent
        again.run()
        assert set(again.numbers()) == set(range(300))
        times = {}
        for ts, values in again.samples():
            # What is sent twice has the same time: to the server it is one sample.
            assert times.setdefault(values["n"], ts) == ts


@pytest.mark.parametrize("budget", [2048, 8192, 65536])
def test_the_budget_holds_and_the_oldest_go_first(clock, budget):
    box = Outbox(budget, 0)
    for n in range(4000):
        box.add(b'{"n":%d}' % n)
        clock.now += MINUTE
        assert sum(os.stat(name).st_size for name in files()) <= budget
    loop = Loop(box, clock)
    loop.run()
    numbers = loop.numbers()
    assert numbers == list(range(4000 - len(numbers), 4000))
    assert len(numbers) * 35 > budget * 0.6
    assert loop.dropped == 4000 - len(numbers)


def test_what_was_dropped_before_a_reset_is_told_after_it(clock):
    box = Outbox(4096, 0)
    fill(box, clock, 500)
    dropped = box.dropped
    assert dropped > 300
    loop = Loop(Outbox(4096, 0), clock)
    loop.run()
    assert loop.dropped == dropped and loop.dropped + len(loop.numbers()) == 500
    # ... and once only.
    assert not files() and Outbox(4096, 0).dropped == 0


def test_drops_are_counted_over_several_resets(clock):
    for boot in range(10):
        fill(Outbox(4096, 0), clock, 70, first=boot * 70)
    loop = Loop(Outbox(4096, 0), clock)
    loop.run()
    assert loop.dropped + len(loop.numbers()) == 700


class Writes:
    """Counts what is opened for writing, and fails on demand."""

    def __init__(self, monkeypatch):
        self.count = self.tries = 0
        self.error = None
        monkeypatch.setattr(outbox, "open", self._open, raising=False)

    def _open(self, name, mode="r"):
        if "a" in mode or "w" in mode:
            self.tries += 1
            if self.error:
                raise self.error
            self.count += 1
        return builtins.open(name, mode)


def test_writes_are_no_more_than_promised(clock, monkeypatch):
    writes = Writes(monkeypatch)
    box = Outbox(65536, 3_600_000 // 12)
    for n in range(3600):  # an hour, a sample a second, little enough to wait
        if n % 30 == 0:
            box.add(b'{"n":%d}' % n)
        box.step()
        clock.now += 1000
    assert 10 <= writes.count <= 12
    assert writes.count * 4 >= 120 / 10


def test_what_comes_faster_is_written_by_the_kib(clock, monkeypatch):
    writes = Writes(monkeypatch)
    box = Outbox(1 << 20, MINUTE)
    fill(box, clock, 1000, step=10)  # ten seconds
    size = sum(os.stat(name).st_size for name in files())
    assert writes.count <= 1 + size // 1024
    loop = Loop(box, clock)
    loop.run()
    assert loop.numbers() == list(range(1000))


def test_the_first_sample_of_an_outage_is_safe_at_once(clock):
    box = Outbox(65536, MINUTE)
    box.add(b'{"n":0}')
    assert len(files()) == 1
    clock.now += 1000
    box.add(b'{"n":1}')
    size = os.stat(files()[0]).st_size
    clock.now += MINUTE
    box.step()
    assert os.stat(files()[0]).st_size > size


def test_without_a_budget_there_is_no_flash_and_a_little_ram(clock, monkeypatch):
    writes = Writes(monkeypatch)
    box = Outbox(0, 0)
    fill(box, clock, 300)
    assert not files() and not writes.count and box.bytes <= 2048
    loop = Loop(box, clock)
    loop.run()
    assert loop.numbers() == list(range(300 - len(loop.numbers()), 300))
    assert len(loop.numbers()) > 40 and loop.dropped == 300 - len(loop.numbers())


def test_a_full_flash_costs_the_oldest(clock, monkeypatch):
    writes = Writes(monkeypatch)
    box = Outbox(65536, 0)
    fill(box, clock, 600)
    stored = files()
    writes.error = OSError(errno.ENOSPC, "ENOSPC")
    fill(box, clock, 1, first=600)
    assert files() != stored  # room was made
    writes.error = None
    fill(box, clock, 10, first=601)
    loop = Loop(box, clock)
    loop.run()
    numbers = loop.numbers()
    assert numbers == list(range(611 - len(numbers), 611))
    assert loop.dropped == 611 - len(numbers)


def test_a_folder_that_takes_no_more_names_costs_the_oldest(clock, monkeypatch):
    writes = Writes(monkeypatch)
    box = Outbox(65536, 0)
    fill(box, clock, 600)
    stored = files()
    writes.error = OSError(36, "ENAMETOOLONG")  # what littlefs says where a folder's block is full
    fill(box, clock, 1, first=600)
    assert files() != stored


def test_a_flash_that_takes_nothing_is_left_alone(clock, monkeypatch):
    writes = Writes(monkeypatch)
    writes.error = OSError(errno.ENOSPC, "ENOSPC")
    box = Outbox(65536, MINUTE)
    for n in range(6000):  # ten minutes
        box.add(b'{"n":%d}' % n)
        box.step()
        clock.now += 100
        assert box.bytes <= 2048
    assert writes.tries <= 10
    assert box.next == 0  # one name, however often it was tried
    # A write that succeeds ends it.
    writes.error = None
    clock.now += MINUTE
    box.step()
    assert not box.waiting
    fill(box, clock, 100, first=6000, step=10)
    assert writes.count > 2
    loop = Loop(box, clock)
    loop.run()
    assert loop.numbers()[-100:] == list(range(6000, 6100))
    assert loop.dropped + len(loop.numbers()) == 6100


def test_a_sample_larger_than_the_budget_costs_no_other_segment(clock):
    box = Outbox(4096, 0)
    fill(box, clock, 60)
    box.add(b'{"n":60,"x":"%s"}' % (b"y" * 5000))
    loop = Loop(box, clock)
    assert loop.run() and loop.numbers() == list(range(60))
    assert loop.dropped == 1


def test_a_smaller_budget_than_before_drops_nothing_without_need(clock):
    fill(Outbox(65536, 0), clock, 300)
    box = Outbox(0, 0)
    box.flush()
    loop = Loop(box, clock)
    loop.run()
    assert loop.numbers() == list(range(300))


def test_drops_are_told_where_nothing_else_is_left(clock):
    box = Outbox(65536, 0)
    box.add(b'{"x":"' + b"y" * 0xFF00 + b'"}')
    loop = Loop(box, clock)
    loop.run()
    assert loop.dropped == 1 and loop.news and loop.outbox is None


def test_a_broken_flash_costs_nothing_that_is_stored(clock, monkeypatch):
    writes = Writes(monkeypatch)
    box = Outbox(65536, 0)
    fill(box, clock, 100)
    writes.error = OSError(errno.EIO, "EIO")
    fill(box, clock, 200, first=100)
    loop = Loop(box, clock)
    loop.run()
    numbers = loop.numbers()
    assert numbers[:100] == list(range(100))
    assert numbers[100:] == list(range(400 - len(numbers), 300))
    assert loop.dropped == 300 - len(numbers)


def test_a_record_that_the_heap_has_no_room_for_stays(clock, monkeypatch):
    box = Outbox(65536, 0)
    fill(box, clock, 20)

    class Full:
        def __init__(self, name, mode):
            self.file = builtins.open(name, mode)  # noqa: SIM115 - closed by __exit__

        def __enter__(self):
            return self

        def __exit__(self, *_):
            self.file.close()

        def seek(self, *where):
            return self.file.seek(*where)

        def read(self, size):
            if size > 13 and self.file.tell() > 400:
                raise MemoryError
            return self.file.read(size)

    monkeypatch.setattr(drain, "open", Full, raising=False)
    assert drain.count(box)[0] < 20  # who makes room by it must come to an end
    loop = Loop(box, clock)
    with pytest.raises(MemoryError):
        loop.run()
    monkeypatch.setattr(drain, "open", builtins.open)
    loop.run()
    assert loop.numbers() == list(range(20)) and not loop.dropped


def segment(clock, count=12):
    """One segment with `count` samples, and its content."""
    fill(Outbox(65536, 0), clock, count, size=20)
    [name] = files()
    with open(name, "rb") as f:
        return name, f.read()


def after(name, data, clock):
    """What reaches the server when `data` is on flash: the numbers, and how many are counted as dropped."""
    for other in files():
        os.remove(other)
    with open(name, "wb") as f:
        f.write(data)
    loop = Loop(Outbox(65536, 0), clock)
    loop.run()
    assert not files()
    return loop.numbers(), loop.dropped


@pytest.mark.parametrize("kind", ["bit", "zero", "mark", "gone", "more"])
def test_a_damaged_byte_costs_one_record_only(clock, kind):
    name, data = segment(clock, 4)
    size = len(data) // 4
    for i in range(len(data)):
        changed = {
            "bit": data[:i] + bytes((data[i] ^ 1,)) + data[i + 1 :],
            "zero": data[:i] + b"\0" + data[i + 1 :],
            "mark": data[:i] + b"\x1e" + data[i + 1 :],
            "gone": data[:i] + data[i + 1 :],
            "more": data[:i] + b"7" + data[i:],
        }[kind]
        numbers, dropped = after(name, changed, clock)
        if changed == data or (kind == "more" and i % size == 0):
            continue  # between two records
        expected = [n for n in range(4) if n != i // size]
        assert numbers == expected, (i, data[i])
        assert dropped == 1, i


def test_noise_costs_what_it_hits(clock):
    rng = random.Random(1)
    name, data = segment(clock, 12)
    size = len(data) // 12
    for _ in range(200):
        at = rng.randrange(len(data))
        noise = rng.randbytes(rng.randrange(1, 200))
        numbers, dropped = after(name, data[:at] + noise + data[at + len(noise) :], clock)
        hit = set(range(at // size, (at + len(noise) - 1) // size + 1))
        assert set(range(12)) - hit <= set(numbers) <= set(range(12))
        assert numbers == sorted(numbers) and (dropped == 1 or len(numbers) == 12)


@pytest.mark.parametrize(
    "data", [b"", b"\x1e", b"\x1effff00000000", b"\x1e-00100000000", b"\xff" * 5000, b"\x1e" * 5000]
)
def test_a_segment_of_nonsense_ends(clock, data):
    numbers, dropped = after("outbox.3", data, clock)
    assert numbers == [] and dropped == (1 if data else 0)


BODIES = [b"", b",", b"x,{}", b"-x", b"-", b"+,{}", b"no comma", b"99999999999999999999999,{}", b"\xff\xfe,{}"]


@pytest.mark.parametrize("body", BODIES, ids=str)
def test_records_that_nobody_wrote_do_no_harm(clock, body):
    box = Outbox(65536, 0)
    fill(box, clock, 1)
    box._record(0, body)
    box.flush()
    fill(box, clock, 1, first=1)
    loop = Loop(Outbox(65536, 0), clock)
    loop.samples = list
    loop.run()
    assert b'{"n": 0}' in b"".join(loop.payloads) and b'{"n": 1}' in b"".join(loop.payloads)


def test_other_files_are_none_of_its_business(clock):
    for name in ("outbox", "outbox.", "outbox.txt", "outbox.1.new", "inbox.1"):
        open(name, "wb").close()
    box = Outbox(65536, 0)
    assert box.segments == []
    fill(box, clock, 3)
    Loop(box, clock).run()
    assert len(os.listdir()) == 5


def test_a_clock_that_is_set_afterwards_gives_earlier_samples_their_time(clock):
    clock.is_set = False
    began = clock.now
    box = Outbox(65536, 0)
    fill(box, clock, 100, step=500)
    clock.is_set = True
    fill(box, clock, 50, first=100, step=500)
    samples = Loop(box, clock).run()
    assert [ts for ts, _ in samples] == [EPOCH * 1000 + began + n * 500 for n in range(150)]


def test_a_clock_that_is_set_during_the_drain_does_so_too(clock, monkeypatch):
    clock.is_set = False
    box = Outbox(65536, 0)
    began = clock.now
    fill(box, clock, 20, step=500)
    asked = []
    real = drain.errand

    def errand(module, function, *arguments):
        if module == "clock":
            asked.append(arguments[1:])
            clock.is_set = True
            return None
        return real(module, function, *arguments)

    monkeypatch.setattr(drain, "errand", errand)
    samples = Loop(box, clock).run()
    assert asked == [("127.0.0.1", 1)]
    assert [ts for ts, _ in samples] == [EPOCH * 1000 + began + n * 500 for n in range(20)]


def test_without_a_clock_samples_have_no_time(clock, monkeypatch, capsys):
    clock.is_set = False

    def errand(module, *arguments):
        if module == "clock":
            raise LinkError("ntp.host does not tell it")
        return Asking.ask()

    box = Outbox(65536, 0)
    fill(box, clock, 3)
    monkeypatch.setattr(drain, "errand", errand)
    loop = Loop(box, clock)
    assert loop.run() == [(None, {"n": n}) for n in range(3)]
    assert "without their time" in capsys.readouterr().out
    # The server gives one time to all of a message, and keeps one value for each name and time.
    assert len(loop.payloads) == 3 and sum(loop.pauses) >= 2 * 2


def test_samples_with_a_time_go_together_with_one_that_has_none(clock):
    clock.is_set = False
    fill(Outbox(65536, 0), clock, 2)
    clock.is_set = True
    box = Outbox(65536, 0)
    box.add(b'{"ts": 5, "n": 2}')  # a name of the app's own
    fill(box, clock, 3, first=3)
    loop = Loop(box, clock)
    assert [values["n"] for _, values in loop.run()] == list(range(6))
    assert [json.loads(payload) for payload in loop.payloads[:2]] == [{"n": 0}, {"n": 1}]
    assert all(ts for ts, _ in loop.samples()[2:])


def test_names_like_ts_make_no_time(clock, monkeypatch):
    clock.is_set = False
    monkeypatch.setattr(drain, "_clock", lambda *_: None)
    box = Outbox(65536, 0)
    for n in range(3):
        box.add(json.dumps({"ts" if n % 2 else "values": {"n": n}}).encode())
    loop = Loop(box, clock)
    loop.samples = list
    loop.run()
    assert len(loop.payloads) == 3


def test_a_clock_that_nobody_set_says_nothing_over_a_reset(clock):
    clock.is_set = False
    fill(Outbox(65536, 0), clock, 3)
    clock.is_set = True
    fill(box := Outbox(65536, 0), clock, 1, first=3)
    samples = Loop(box, clock).run()
    assert [ts for ts, _ in samples[:3]] == [None] * 3 and samples[3][0]


def test_ticks_that_wrap_are_no_news(clock):
    clock.is_set = False
    box = Outbox(65536, 0)
    fill(box, clock, 40, step=86_400_000 // 2)  # twenty days; ticks count to twelve
    clock.is_set = True
    times = [ts for ts, _ in Loop(box, clock).run()]
    assert all(b - a == 86_400_000 // 2 for a, b in zip(times, times[1:], strict=False))


def test_a_week_without_a_sample_is_no_news(clock):
    # read() returns None for so long: nothing but step() looks at the clock. Ticks count to twelve days, both ways.
    box = Outbox(65536, MINUTE)
    fill(box, clock, 2)
    for _ in range(20 * 24):
        clock.now += 3_600_000
        box.step()
    then = clock.now
    fill(box, clock, 1, first=2)
    assert not box.waiting
    assert Loop(box, clock).run()[-1] == (EPOCH * 1000 + then, {"n": 2})


def test_samples_that_come_during_the_drain_go_behind(clock):
    box = Outbox(65536, 0)
    fill(box, clock, 100)
    loop = Loop(box, clock)
    taken = [100]

    def tick():
        if taken[0] < 140:
            box.add(b'{"n":%d}' % taken[0])
            taken[0] += 1

    loop.ticks = tick
    loop.run()
    assert taken[0] > 102 and loop.numbers() == list(range(taken[0]))


def test_the_servers_limits_are_kept(clock):
    box = Outbox(65536, 0)
    fill(box, clock, 100)
    loop = Loop(box, clock, limits=(200, 65536, 5000, 0))
    loop.run()
    # The server is asked only when there is more than one message to send.
    assert all(len(payload) <= 200 for payload in loop.payloads[1:])
    assert sum(loop.pauses) >= 5000 * (len(loop.payloads) - 1)
    assert Asking.times == 1
    assert loop.numbers() == list(range(100))


def test_data_points_are_paced_and_never_more_than_the_bucket_holds(clock):
    box = Outbox(65536, 0)
    for n in range(60):
        box.add(json.dumps({"n": n, "b": 1, "c": "a:b"}).encode())
    loop = Loop(box, clock, limits=(65536, 10, 0, 300))
    loop.run()
    for payload in loop.payloads[1:]:
        doc = json.loads(payload)
        assert sum(len(sample["values"]) for sample in doc) <= 10 if isinstance(doc, list) else True
    assert sum(loop.pauses) >= 300 * 3 * 50


def test_one_message_asks_for_no_limits(clock):
    box = Outbox(65536, 0)
    fill(box, clock, 5)
    Loop(box, clock).run()
    assert Asking.times == 0


def test_with_a_limit_on_messages_and_heap_for_it_they_are_larger(clock, monkeypatch):
    box = Outbox(65536, 0)
    fill(box, clock, 500, size=50)
    loop = Loop(box, clock, limits=(65536, 65536, 5000, 0))
    loop.run()
    assert 2000 < max(map(len, loop.payloads)) <= 4096
    monkeypatch.setattr(micro.gc, "mem_free", lambda: 30_000)
    box = Outbox(65536, 0)
    fill(box, clock, 500)
    loop = Loop(box, clock, limits=(65536, 65536, 5000, 0))
    loop.run()
    assert max(map(len, loop.payloads)) <= 900


def test_a_server_that_closed_is_sent_to_more_slowly_and_then_faster_again(clock):
    box = Outbox(65536, 0)
    fill(box, clock, 600)
    box.pace = 8000
    loop = Loop(box, clock)
    loop.run()
    assert loop.pauses[0] == 1000 and 5000 <= sum(loop.pauses[:6]) <= 7000
    assert sum(loop.pauses) < 8000 * 4 and loop.pauses[-1] < 500


def test_a_sample_that_a_connection_ends_on_gets_longer_and_longer_pauses(clock):
    # A server with a limit that it does not tell, of a message a minute: the empty one may count as well.
    box = Outbox(65536, 0)
    fill(box, clock, 1)
    box.tries = 1
    loop = Loop(box, clock)
    last = [clock.now]

    def send(payload):
        last[0], ago = clock.now, clock.now - last[0]
        if ago < 50_000:
            raise LinkError("closed")
        loop.payloads.append(payload)

    loop.send = send
    tries = 0
    while loop.outbox:
        clock.now += MINUTE  # the back-off
        tries += 1
        with contextlib.suppress(LinkError):
            loop.run()
    assert b'"n": 0' in loop.payloads[-1] and not loop.dropped
    assert 1 < tries < drain._POISON


def test_a_server_that_closes_gets_one_sample_at_a_time_behind_an_empty_one(clock):
    box = Outbox(65536, 0)
    fill(box, clock, 30)
    loop = Loop(box, clock)
    said = []
    loop.send = said.append
    box.tries = 1
    loop.run()
    assert said[0] == b"{}" and json.loads(said[1])["values"] == {"n": 0}
    assert isinstance(json.loads(said[2]), list)  # back to batches


LIMITS = [
    ({"maxPayloadSize": 65536, "rateLimits": {}}, (65504, 65536, 0, 0)),
    ({"maxPayloadSize": 1000, "rateLimits": None}, (968, 65536, 0, 0)),
    ({"maxPayloadSize": 65536, "rateLimits": {"telemetryMessages": "10:1,300:60"}}, (65504, 65536, 225, 0)),
    (
        {"maxPayloadSize": 65536, "rateLimits": {"telemetryMessages": "20:600", "messages": ""}},
        (65504, 65536, 33750, 0),
    ),
    ({"maxPayloadSize": 65536, "rateLimits": {"telemetryDataPoints": "100:10"}}, (65504, 100, 0, 112.5)),
    (
        {"maxPayloadSize": 65536, "rateLimits": {"telemetryMessages": "0:1,1:0,1:99999999"}},
        (65504, 65536, 3_600_000, 0),
    ),
    ({"maxPayloadSize": -5, "rateLimits": {"messages": "1:9", "telemetryMessages": None}}, (1, 65536, 0, 0)),
]


@pytest.mark.parametrize(("answer", "expected"), LIMITS)
def test_limits(answer, expected):
    assert limits.read(json.dumps(answer).encode()) == expected


class Asked:
    """A link that answers getSessionLimits with these bytes, or not at all."""

    timeout = 1000

    def __init__(self, answer, clock):
        self.answer = answer
        self.clock = clock

    def publish(self, topic, payload):
        assert topic == b"v1/devices/me/rpc/request/1"
        assert json.loads(payload) == {"method": "getSessionLimits", "params": {}}

    def listen(self, ms, handler):
        self.clock.now += ms
        answer, self.answer = self.answer, None
        if answer is not None:
            handler(b"v1/devices/me/attributes", b'{"a":1}')
            handler(b"v1/devices/me/rpc/response/1", answer)


BAD = [b"", b"[]", b"{}", b"7", b"{", b'{"error":"timeout"}', b'{"maxPayloadSize":"x"}', b'{"maxPayloadSize":null}']
BAD += [
    b'{"maxPayloadSize":1,"rateLimits":{"telemetryMessages":%s}}' % value
    for value in (b"7", b'"x"', b'"1"', b'"1:2:3"')
]


@pytest.mark.parametrize("answer", [None, *BAD], ids=str)
def test_no_limits_or_nonsense_means_the_defaults(clock, answer):
    heard = []
    assert limits.ask(Asked(answer, clock), lambda *message: heard.append(message)) == (65536, 65536, 0, 0)
    assert clock.now <= 1_000 + 1_050
    assert heard == ([] if answer is None else [(b"v1/devices/me/attributes", b'{"a":1}')])


def test_links_that_can_not_ask_have_the_defaults():
    assert limits.ask(object(), None) == (65536, 65536, 0, 0)


def test_two_outages_give_no_two_samples_the_same_time(clock):
    """The server would keep one of them: a clock in whole seconds would set each outbox's a little elsewhere."""
    times = []
    for _ in range(5):
        box = Outbox(65536, 0)
        for n in range(3):
            box.add(b'{"n": %d}' % n)
            clock.now += 310
        loop = Loop(box, clock)
        loop.run()
        times += [sample["ts"] for payload in loop.payloads for sample in json.loads(payload)]
    assert len(set(times)) == 15 and times == sorted(times)
