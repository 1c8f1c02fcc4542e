"""Setting the clock by SNTP, in the epochs of the ports."""

import time

import machine
import micro
import pytest
from firstboot import clock
from firstboot.link import LinkError, Wire

from .peer import Stopwatch, TimeServer, sntp_answer

NOW = 1_800_000_000  # 2027-01-15 08:00:00 UTC, a Friday
EPOCH_2000 = 946684800


def wire(seconds=5):
    made = Wire()
    made.within(int(seconds * 1000))
    return made


@pytest.fixture(params=[0, EPOCH_2000])
def unset(request, monkeypatch):
    """A board that has just been powered up, and counts from 1970 or from 2000."""
    monkeypatch.setattr(micro.time, "gmtime", lambda t=0: time.gmtime(t + request.param), raising=False)


@pytest.fixture
def quick(monkeypatch):
    monkeypatch.setattr(clock, "_AGAIN", 50)


def test_a_clock_that_is_set_is_left_alone():
    clock.ensure(wire(), "no-such-host.invalid", 123)
    assert machine.RTC.set_to is None


def test_a_server_that_is_silent_does_not_cost_the_watchdog(unset, quick, monkeypatch):
    fed = []
    monkeypatch.setattr(clock, "feed", lambda: fed.append(1))
    with TimeServer(lambda request: None) as server, pytest.raises(LinkError, match="does not tell the time"):
        clock.ensure(wire(0.3), "127.0.0.1", server.port)
    assert len(fed) >= 3  # once a question


def test_it_is_set(unset):
    with TimeServer(lambda request: sntp_answer(request, NOW)) as server:
        clock.ensure(wire(), "127.0.0.1", server.port)
    assert machine.RTC.set_to == (2027, 1, 15, 4, 8, 0, 0, 0)
    request = server.asked[0]
    assert len(request) == 48 and request[0] == 0x23  # version 4, client


def test_after_2036(unset):
    late = 2_100_000_000
    with TimeServer(lambda request: sntp_answer(request, late)) as server:
        clock.ensure(wire(), "127.0.0.1", server.port)
    assert machine.RTC.set_to[:3] == (2036, 7, 18)


def test_a_lost_question_is_asked_again_and_each_is_another(unset, quick):
    lost = []

    def answers(request):
        lost.append(request)
        return sntp_answer(request, NOW) if len(lost) > 2 else None

    with TimeServer(answers) as server:
        clock.ensure(wire(), "127.0.0.1", server.port)
    assert machine.RTC.set_to[0] == 2027
    assert len({request[40:] for request in server.asked}) == 3


@pytest.mark.parametrize(
    "answers",
    [
        lambda request: sntp_answer(request, NOW)[:47],
        lambda request: sntp_answer(request, NOW, mode=3),
        lambda request: sntp_answer(request, NOW, stratum=0),  # kiss of death
        lambda request: sntp_answer(bytes(48), NOW),  # somebody who did not see the question
        lambda request: b"x",
        lambda request: None,
    ],
)
def test_what_is_no_answer(unset, quick, answers):
    reason = "ntp.host 127.0.0.1 does not tell the time"
    with TimeServer(answers) as server, pytest.raises(LinkError, match=reason), Stopwatch() as watch:
        clock.ensure(wire(0.3), "127.0.0.1", server.port)
    assert 0.25 < watch.seconds < 3
    assert machine.RTC.set_to is None


def test_nobody_is_there(unset, quick):
    with TimeServer(lambda request: None) as server:
        pass
    with pytest.raises(LinkError, match="ntp.host 127.0.0.1"):
        clock.ensure(wire(0.3), "127.0.0.1", server.port)


def test_a_name_that_does_not_resolve(unset):
    with pytest.raises(LinkError, match="ntp.host no-such-host.invalid does not resolve"):
        clock.ensure(wire(), "no-such-host.invalid", 123)
