"""The telemetry loop: samples, refusals, outages and what it reports of them."""

import json
from types import SimpleNamespace

import micro
import pytest
from firstboot import telemetry
from firstboot.backoff import Backoff
from firstboot.link import Denied, LinkError

from .fakes import OWN, Stop


class Link:
    """A link that fails where its script says so: `trouble` has (verb, its number, exception)."""

    def __init__(self, *trouble, rounds=5):
        self.trouble = {(verb, number): e for verb, number, e in trouble}
        self.counts = {}
        self.steps = []
        self.sent = []
        self.reports = []
        self.waits = []
        self.rounds = rounds

    def open(self, credentials):
        assert credentials == OWN
        self._step("open")

    def send(self, payload):
        self._step("send")
        self.sent.append(json.loads(payload))

    def report(self, payload):
        self._step("report")
        self.reports.append(json.loads(payload))

    def listen(self, ms, handler=None):
        self.waits.append(ms)
        if len(self.waits) >= self.rounds:
            raise Stop
        self._step("listen")

    def close(self):
        self.steps.append("close")

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


@pytest.fixture
def pauses(monkeypatch):
    """The loop's pauses in ms; none of them takes time."""
    taken = []
    monkeypatch.setattr(micro.time, "sleep_ms", taken.append)
    return taken


def run(link, app=None, is_open=True, period=60, revoked="provision"):
    """Run the loop to its end (Stop); what else ends it comes out."""
    backoff = Backoff(2, 300, lambda n: b"\xff" * n)
    wifi = (None, "", 1)
    loop = telemetry.Telemetry(app or counter(), None, link, OWN, is_open, wifi, backoff, period, revoked)
    with pytest.raises(Stop):
        loop.run()


def test_a_sample_every_period():
    link = Link(rounds=4)
    run(link)
    assert link.sent == [{"n": 0}, {"n": 1}, {"n": 2}, {"n": 3}]
    # This link's listen() takes no time, so the loop is ahead of its schedule by a period more each round.
    for i, ms in enumerate(link.waits, 1):
        assert i * 60_000 - 1000 < ms <= i * 60_000


def test_an_open_link_is_not_opened_again():
    link = Link(rounds=1)
    run(link, is_open=True)
    assert "open" not in link.steps
    link = Link(rounds=1)
    run(link, is_open=False)
    assert link.steps[:2] == ["open", "send"]


def test_the_first_report_tells_the_version():
    from firstboot import __version__

    link = Link()
    run(link)
    assert link.reports == [{"firstboot_version": __version__, "read_errors": 0, "dropped_samples": 0}]


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
    backoff = Backoff(2, 300, lambda n: b"\xff" * n)
    loop = telemetry.Telemetry(None, None, link, OWN, True, (None, "", 1), backoff, 60, "provision")
    with pytest.raises(Stop):
        loop.run()
    assert link.sent == [] and link.reports[-1]["read_errors"] == 2


def test_a_lost_connection_loses_no_sample(pauses):
    link = Link(("send", 2, LinkError("closed")), ("listen", 3, LinkError("closed")), rounds=6)
    run(link)
    assert link.sent == [{"n": n} for n in range(6)]
    assert link.steps.count("open") == 2
    assert link.steps[link.steps.index("close") + 1] == "open"


@pytest.mark.parametrize("e", [OSError(104, "ECONNRESET"), OSError(-2), LinkError("stalled"), OSError()])
def test_any_oserror_is_mended(pauses, e):
    link = Link(("send", 1, e))
    run(link)
    assert link.sent[0] == {"n": 0}
    assert pauses  # never at once


def test_the_pauses_of_an_outage_grow_and_start_again_after_it(pauses):
    outage = [("open", n, LinkError("no route")) for n in (1, 2, 3, 4)]
    link = Link(*outage, ("listen", 2, LinkError("closed")), rounds=4)
    run(link, is_open=False)
    # Pauses are slept in steps of a second at most.
    assert sum(pauses) == (2 + 4 + 8 + 16 + 2) * 1000
    assert link.sent == [{"n": n} for n in range(4)]


def test_the_report_is_sent_again_after_a_reconnect(pauses):
    link = Link(("listen", 1, LinkError("closed")), rounds=3)
    run(link)
    assert len(link.reports) == 2


def test_a_report_that_fails_is_sent_after_the_reconnect(pauses):
    link = Link(("report", 1, LinkError("closed")), rounds=2)
    run(link)
    assert len(link.reports) == 1


def test_an_outage_is_not_made_up_for_by_a_burst(monkeypatch):
    now = [0]
    monkeypatch.setattr(micro.time, "ticks_ms", lambda: now[0])

    def sleep(ms):
        now[0] += ms

    monkeypatch.setattr(micro.time, "sleep_ms", sleep)
    outage = [("open", n, LinkError("no route")) for n in range(1, 12)]
    link = Link(*outage, rounds=6)
    listen = link.listen

    def listening(ms, handler=None):
        listen(ms, handler)
        now[0] += ms

    link.listen = listening
    run(link, is_open=False, period=10)
    assert now[0] > 600_000
    assert [ms for ms in link.waits if ms < 9000] in ([], [0])


def test_a_poisonous_sample_is_dropped_counted_and_told(pauses, capsys):
    poison = [("send", n, LinkError("the server closed the connection")) for n in range(1, 6)]
    link = Link(*poison, rounds=3)
    run(link)
    assert {"n": 0} not in link.sent and link.sent[0] == {"n": 1}
    assert link.counts["open"] == 5
    assert link.reports[-1]["dropped_samples"] == 1
    assert "dropped" in capsys.readouterr().out


def test_outages_are_no_poison(pauses):
    # The sample never got as far as being sent: it is kept however long the server is away.
    outage = [("open", n, LinkError("no route")) for n in range(1, 40)]
    link = Link(*outage, rounds=2)
    run(link, is_open=False)
    assert link.sent[0] == {"n": 0}
    assert link.reports[-1]["dropped_samples"] == 0


def test_five_refusals_in_a_row_revoke_the_identity(pauses):
    link = Link(("open", "always", Denied("CONNACK 5")))
    with pytest.raises(Denied):
        run(link, is_open=False)
    assert link.counts["open"] == 5
    assert sum(pauses) >= (2 + 4 + 8 + 16) * 1000


def test_fewer_refusals_do_not(pauses):
    refusals = [("open", n, Denied("CONNACK 5")) for n in (1, 2, 3, 4)]
    more = [("open", n, Denied("CONNACK 5")) for n in (6, 7, 8, 9)]
    link = Link(*refusals, *more, ("listen", 1, LinkError("closed")), rounds=3)
    run(link, is_open=False)
    assert link.sent == [{"n": 0}, {"n": 1}, {"n": 2}]


def test_revoked_wait_tries_on(pauses):
    link = Link(*[("open", n, Denied("CONNACK 5")) for n in range(1, 20)], rounds=2)
    run(link, is_open=False, revoked="wait")
    assert link.sent[0] == {"n": 0}


def test_a_board_whose_server_is_away_is_not_revoked(pauses):
    link = Link(*[("open", n, LinkError("CONNACK 3")) for n in range(1, 30)], rounds=2)
    run(link, is_open=False)
    assert link.sent[0] == {"n": 0}
