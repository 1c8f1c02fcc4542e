"""The telemetry loop: samples, refusals, outages and what it reports of them."""

import json
import os
import sys
from types import SimpleNamespace

import firstboot
import micro
import pytest
from firstboot import crash, drain, ended, mend, outbox
from firstboot.link import Denied, LinkError
from firstboot.loop import telemetry

from .fakes import OWN, Stop

NOTES = {"firstboot_version": "1.2.3", "safe_mode": False}
RARE = (65536, 60_000, "127.0.0.1", 1, "provision")
EPOCH = 1_800_000_000  # seconds since 1970 when a test's clock starts


class Clock:
    """The board's time, which passes only where the firmware waits."""

    def __init__(self, monkeypatch):
        self.now = 5_000
        self.pauses = []
        self.is_set = True
        real = micro.time.gmtime
        monkeypatch.setattr(micro.time, "ticks_ms", lambda: self.now)
        monkeypatch.setattr(micro.time, "sleep_ms", self._sleep)
        monkeypatch.setattr(os, "urandom", lambda n: b"\xff" * n)  # the longest wait that the back-off may draw
        monkeypatch.setattr(micro.time, "time_ns", self.time_ns)
        monkeypatch.setattr(micro.time, "gmtime", lambda *seconds: real(*(seconds or (self.time(),))))

    def time(self):
        return self.time_ns() // 1_000_000_000

    def time_ns(self):
        return self.now * 1_000_000 + (EPOCH * 1_000_000_000 if self.is_set else 0)

    def _sleep(self, ms):
        self.pauses.append(ms)
        self.now += ms


@pytest.fixture(autouse=True)
def clock(monkeypatch):
    """A clock that is set, and runs only while the board waits."""
    Link.clock = Clock(monkeypatch)
    yield Link.clock
    firstboot.step = None


class Link:
    """A link that fails where its script says so: `trouble` has (verb, its number, exception)."""

    def __init__(self, *trouble, rounds=5):
        self.trouble = {(verb, number): e for verb, number, e in trouble}
        self.counts = {}
        self.steps = []
        self.sent = []  # samples, one by one
        self.times = []  # their ts, None where they had none
        self.payloads = []
        self.reports = []
        self.waits = []
        self.rounds = rounds
        self.topic = b"what an MQTT link keeps its buffer for"

    def open(self, credentials):
        assert credentials == OWN
        self._step("open")
        self.sock = True

    def send(self, payload):
        assert isinstance(payload, bytes)
        self._step("send")
        self.payloads.append(payload)
        doc = json.loads(payload)
        assert doc != []  # the server would never acknowledge it
        for sample in doc if isinstance(doc, list) else [doc]:
            if sample:
                self.sent.append(sample.get("values", sample))
                self.times.append(sample.get("ts"))

    def report(self, payload):
        self._step("report")
        self.reports.append(json.loads(payload))

    def listen(self, ms, handler=None):
        self.waits.append(ms)
        if len(self.waits) >= self.rounds:
            raise Stop
        self._step("listen")
        self.clock.now += ms

    def close(self):
        self.steps.append("close")
        self.sock = None

    def _step(self, verb):
        self.steps.append(verb)
        self.counts[verb] = number = self.counts.get(verb, 0) + 1
        e = self.trouble.get((verb, number)) or self.trouble.get((verb, "always"))
        if e:
            raise e


def counter():
    """An app whose samples are numbered."""
    numbers = iter(range(10_000))
    return SimpleNamespace(read=lambda: {"n": next(numbers)})


def loop(link, app=None, is_open=True, period=60, rare=RARE, outbox=None, is_trial=False):
    link.sock = is_open or None
    return telemetry(
        link,
        OWN,
        (None, "", 1),
        [2, 2, 300],
        app or counter(),
        None,
        period,
        outbox,
        rare,
        dict(NOTES),
        is_trial,
        0,
    )


def run(link, *args, **more):
    """Run the loop to its end (Stop); what else ends it comes out."""
    one = loop(link, *args, **more)
    try:
        with pytest.raises(Stop):
            one.run()
    finally:
        mend.end(one)


def test_a_sample_every_period(clock):
    link = Link(rounds=4)
    run(link)
    assert link.sent == [{"n": 0}, {"n": 1}, {"n": 2}, {"n": 3}]
    assert link.waits == [60_000] * 4
    assert not os.listdir()  # no flash in sight of a healthy connection


def test_an_open_link_is_not_opened_again():
    link = Link(rounds=1)
    run(link, is_open=True)
    assert "open" not in link.steps
    link = Link(rounds=1)
    run(link, is_open=False)
    assert link.steps[:2] == ["open", "send"]


def test_the_first_report_tells_the_version():
    link = Link()
    run(link, Bad(None.__class__))
    assert link.reports[0] == {**NOTES, "read_errors": 0, "dropped_samples": 0}
    assert link.reports[1] == {"read_errors": 1, "dropped_samples": 0}


def test_acknowledged_is_what_the_server_has_acknowledged(capsys):
    """`firstboot flash` waits for this line: a board whose app gives nothing must not say it."""
    values = iter([None, ValueError(), {"a": 1}, {"a": 2}])

    def read():
        value = next(values)
        if isinstance(value, Exception):
            raise value
        return value

    said = []

    class Heard(Link):
        def listen(self, ms, handler=None):
            said.append("telemetry: acknowledged" in capsys.readouterr().out)
            super().listen(ms, handler)

    run(Heard(rounds=4), SimpleNamespace(read=read))
    assert said == [False, False, True, False]


def test_acknowledged_is_said_where_the_first_report_was_lost(capsys):
    run(Link(("report", 1, LinkError("closed")), rounds=4))
    assert capsys.readouterr().out.count("telemetry: acknowledged") == 1


def test_the_watchdog_is_fed_where_there_is_no_sample(monkeypatch):
    """Without a pause between them, nothing else would."""
    fed = []
    monkeypatch.setattr(firstboot, "watchdog", SimpleNamespace(feed=lambda: fed.append(1)))
    run(Link(rounds=20), SimpleNamespace(read=lambda: None), period=0)
    assert len(fed) >= 20


def test_none_is_no_sample():
    values = iter([{"a": 1}, None, None, {"a": 2}])
    link = Link(rounds=4)
    run(link, SimpleNamespace(read=lambda: next(values)))
    assert link.sent == [{"a": 1}, {"a": 2}]
    assert link.reports[-1]["read_errors"] == 0


class Bad:
    """An app whose read() is wrong in a way of its own, every second time."""

    def __init__(self, wrong):
        self.wrong = wrong
        self.calls = 0

    def read(self):
        self.calls += 1
        if self.calls % 2:
            return {"good": self.calls}
        if isinstance(self.wrong, Exception):
            raise self.wrong
        return self.wrong


WRONG = [ValueError("sensor"), OSError(5, "EIO"), KeyError("x"), MemoryError(), [1], "text", 7, {"f": object()}]


@pytest.mark.parametrize("wrong", WRONG, ids=[type(wrong).__name__ for wrong in WRONG])
def test_a_failing_read_is_counted_reported_and_survived(wrong, capsys):
    link = Link(rounds=5)
    run(link, Bad(wrong))
    assert [sample["good"] for sample in link.sent] == [1, 3, 5]
    assert [report["read_errors"] for report in link.reports] == [0, 1, 2]
    assert "close" not in link.steps
    assert "read()" in capsys.readouterr().out


def test_an_app_that_could_not_be_imported_is_counted_too():
    link = Link(rounds=2)
    run(link, SimpleNamespace())
    assert link.sent == [] and link.reports[-1]["read_errors"] == 2


def numbers(link):
    return [sample["n"] for sample in link.sent]


def test_a_lost_connection_loses_no_sample():
    link = Link(("send", 2, LinkError("closed")), ("listen", 3, LinkError("closed")), rounds=8)
    run(link)
    assert numbers(link) == list(range(len(link.sent))) and len(link.sent) >= 5
    assert link.steps.count("open") == 2
    assert link.steps[link.steps.index("close") + 1] == "open"


@pytest.mark.parametrize("e", [OSError(104, "ECONNRESET"), OSError(-2), LinkError("stalled"), OSError()])
def test_any_oserror_is_mended(clock, e):
    link = Link(("send", 1, e))
    run(link)
    assert link.sent[0] == {"n": 0}
    assert clock.pauses  # never at once


def test_the_pauses_of_an_outage_grow_and_start_again_after_it(clock):
    outage = [("open", n, LinkError("no route")) for n in (1, 2, 3, 4)]
    link = Link(*outage, ("listen", 3, LinkError("closed")), rounds=8)
    run(link, is_open=False)
    # Pauses are slept in steps of a second at most.
    assert sum(clock.pauses) == (2 + 4 + 8 + 16 + 2) * 1000
    assert max(clock.pauses) == 1000
    assert numbers(link) == list(range(len(link.sent)))


def test_samples_are_taken_on_time_while_the_server_is_away(clock):
    began = clock.now
    outage = [("open", n, LinkError("no route")) for n in range(1, 9)]
    link = Link(*outage, rounds=20)
    run(link, is_open=False, period=10)
    away = [ts for ts in link.times if ts]
    assert len(away) > 40  # 2 + 4 + ... + 256 s
    first = EPOCH * 1000 + began
    assert all(abs(ts - first - i * 10_000) <= 1000 for i, ts in enumerate(away))
    assert numbers(link) == list(range(len(link.sent)))
    assert len(link.payloads) < len(away)  # in batches


def test_what_could_not_be_sent_has_the_time_when_it_was_taken(clock):
    def stalled(payload):
        clock.now += 8_000
        raise LinkError("stalled")

    link = Link()
    link.send, taken = stalled, clock.now
    link.listen = lambda ms, handler: (_ for _ in ()).throw(Stop)
    link.open = lambda credentials: vars(link).pop("send")
    run(link)
    assert link.times == [EPOCH * 1000 + taken]


def test_read_goes_on_during_a_long_join(monkeypatch, clock):
    # Joining waits in steps, and each is a chance for a sample.
    def join(*arguments):
        for _ in range(200):
            clock.now += 100
            firstboot.feed()
        raise OSError("wifi: no such network in reach")

    real = firstboot.errand
    joins = iter([join] * 3)

    def errand(module, *arguments):
        return next(joins, lambda *a: None)() if module == "wifi" else real(module, *arguments)

    monkeypatch.setattr(firstboot, "errand", errand)
    monkeypatch.delitem(sys.modules, "firstboot.connect", raising=False)  # its next import finds this errand
    link = Link(rounds=8)
    run(link, is_open=False, period=5)
    away = [ts for ts in link.times if ts]
    assert len(away) > 10
    gaps = [b - a for a, b in zip(away, away[1:], strict=False)]
    assert max(gaps) <= 6_000


def test_the_report_is_sent_once_and_not_with_every_connection():
    link = Link(("listen", 1, LinkError("closed")), rounds=3)
    run(link)
    assert len(link.reports) == 1


def test_a_report_that_fails_is_sent_after_the_reconnect():
    link = Link(("report", 1, LinkError("closed")), rounds=3)
    run(link)
    assert len(link.reports) == 1


def test_an_outage_is_not_made_up_for_by_a_burst(clock):
    class Slow(SimpleNamespace):
        def read(self):
            clock.now += 25_000  # longer than two periods
            return {"n": 1}

    link = Link(rounds=6)
    run(link, Slow(), period=10)
    assert link.waits == [0] * 6
    link = Link(rounds=6)
    calls = iter(range(100))

    def read():
        clock.now += 95_000 if not next(calls) else 0
        return {"n": 1}

    run(link, SimpleNamespace(read=read), period=10)
    assert link.waits == [0, 10_000, 10_000, 10_000, 10_000, 10_000]


class Poisoned(Link):
    """The server ends the connection on sample 0, or on everything (`limited` times)."""

    limited = 0

    def send(self, payload):
        if self.limited:
            self.limited -= 1
            raise LinkError("the server closed the connection")
        if b'"n": 0' in payload:
            self.counts["poison"] = self.counts.get("poison", 0) + 1
            raise LinkError("the server closed the connection")
        super().send(payload)


def test_a_poisonous_sample_is_dropped_counted_and_told(capsys):
    link = Poisoned(rounds=40)
    run(link)
    assert numbers(link)[:3] == [1, 2, 3]
    assert link.counts["poison"] == 9  # once at once, eight times from the outbox
    assert link.reports[-1]["dropped_samples"] == 1
    assert "dropped a sample" in capsys.readouterr().out


def test_a_server_that_closes_on_everything_for_long_is_no_poison():
    link = Poisoned(rounds=20)
    link.limited = 30
    run(link, SimpleNamespace(read=iter({"n": n} for n in range(1, 1000)).__next__))
    assert numbers(link) == list(range(1, len(link.sent) + 1))
    assert link.reports[-1]["dropped_samples"] == 0


def test_outages_are_no_poison():
    # The sample never got as far as being sent: it is kept however long the server is away.
    outage = [("open", n, LinkError("no route")) for n in range(1, 40)]
    link = Link(*outage, rounds=60)
    run(link, is_open=False)
    assert link.sent[0] == {"n": 0}
    assert link.reports[-1]["dropped_samples"] == 0


def test_five_refusals_in_a_row_revoke_the_identity(clock):
    link = Link(("open", "always", Denied("CONNACK code 5")))
    with pytest.raises(Denied):
        run(link, is_open=False)
    assert link.counts["open"] == 5
    assert sum(clock.pauses) >= (2 + 4 + 8 + 16) * 1000


def test_what_waits_in_memory_is_written_before_the_loop_ends():
    link = Link(("open", "always", Denied("CONNACK code 5")))
    with pytest.raises(Denied):
        run(link, is_open=False, period=10, rare=(65536, 3_600_000, "127.0.0.1", 1, "provision"))
    box = outbox.Outbox(65536, 60_000)
    assert drain.count(box)[0] == 4


def test_fewer_refusals_do_not():
    refusals = [("open", n, Denied("CONNACK code 5")) for n in (1, 2, 3, 4)]
    more = [("open", n, Denied("CONNACK code 5")) for n in (6, 7, 8, 9)]
    link = Link(*refusals, *more, ("listen", 1, LinkError("closed")), rounds=6)
    run(link, is_open=False)
    assert numbers(link) == list(range(len(link.sent))) and len(link.sent) > 3


def test_revoked_wait_tries_on():
    link = Link(*[("open", n, Denied("CONNACK code 5")) for n in range(1, 20)], rounds=2)
    run(link, is_open=False, rare=(*RARE[:4], "wait"))
    assert link.sent[0] == {"n": 0}


def test_a_board_whose_server_is_away_is_not_revoked():
    link = Link(*[("open", n, LinkError("CONNACK code 3")) for n in range(1, 30)], rounds=2)
    run(link, is_open=False)
    assert link.sent[0] == {"n": 0}


def test_after_an_outage_nothing_of_it_stays():
    link = Link(("send", 2, LinkError("closed")), rounds=8)
    one = loop(link)
    with pytest.raises(Stop):
        one.run()
    assert one.outbox is None and firstboot.step is None
    assert "firstboot.outbox" not in sys.modules and "firstboot.drain" not in sys.modules
    assert link.topic is None
    assert not os.listdir()


def test_a_keyboard_interrupt_ends_the_loop():
    def read():
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        loop(Link(), SimpleNamespace(read=read)).run()


def test_a_person_at_the_console_is_no_crash_and_costs_no_sample():
    crash._write(3, None)
    one = loop(Link(("send", 1, LinkError("closed")), ("open", 1, Stop())), is_trial=True)
    with pytest.raises(Stop):
        one.run()
    one.outbox.add(b'{"n":1}')
    assert one.outbox.waiting
    with pytest.raises(KeyboardInterrupt):
        ended.end(one, KeyboardInterrupt())
    assert crash._read()[0] == 0
    assert drain.count(outbox.Outbox(65536, 60_000))[0] == 2


def test_an_app_that_leaves_clears_no_count():
    crash._write(3, None)
    with pytest.raises(SystemExit):
        ended.end(None, SystemExit())
    assert crash._read()[0] == 3


def test_without_memory_for_an_outbox_samples_are_counted_as_dropped(monkeypatch):
    def none(*arguments):
        raise MemoryError

    monkeypatch.setattr(outbox, "Outbox", none)
    monkeypatch.setitem(sys.modules, "firstboot.outbox", outbox)
    link = Link(("send", 2, LinkError("closed")), rounds=8)
    run(link)
    assert numbers(link)[:2] == [0, 2]
    assert link.reports[-1]["dropped_samples"] == 1


def test_a_boot_that_lives_for_a_minute_is_no_crash():
    def crashes(rounds):
        crash._write(3, None)
        run(Link(rounds=rounds), period=25, is_trial=True)
        return crash._read()[0]

    assert crashes(3) == 3  # at 0, 25 and 50 s
    assert crashes(4) == 0  # at 75 s, before read() is called


def test_a_period_longer_than_a_minute_makes_no_crash_of_a_boot_that_lives():
    crash._write(3, None)
    link = Link(rounds=3)
    run(link, period=3600, is_trial=True)
    assert crash._read()[0] == 0
    assert link.waits[:3] == [60_000, 60_000, 3_480_000] and len(link.sent) == 1
