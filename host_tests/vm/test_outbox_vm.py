"""Outages of a virtual board: what it samples meanwhile reaches the server, in order, with the right times."""

import pytest

from tools.stage import COUNTING, Stage
from tools.vboard import WifiPlan

pytestmark = pytest.mark.vm

CONFIG = {
    "period": 0.05,
    "retry": {"first": 0.1, "most": 0.3},
    "server": {"timeout": 2},
    "wifi": {"timeout": 1},
    "ntp": {"host": "127.0.0.1", "port": 9},  # nobody is there
}


@pytest.fixture
def stage():
    with Stage(files={"/app.py": COUNTING}, config=CONFIG) as stage:
        yield stage


def stored(stage, key="count"):
    """(value, ts) of every sample on the server, in order of arrival, without what came twice."""
    found = {}
    for device in stage.standin.devices():
        for name, ts, value in stage.standin.telemetry(device.name):
            if name == key:
                found.setdefault(value, ts)
    return list(found.items())


def have(stage, n):
    return lambda _: len(stored(stage)) >= n


def complete(stage):
    """The numbers have no gap and came in order; returns the times between two samples in ms."""
    samples = stored(stage)
    assert [n for n, _ in samples] == list(range(1, len(samples) + 1))
    return [b[1] - a[1] for a, b in zip(samples, samples[1:], strict=False)]


def outboxes(image):
    return [name for name in image.ls() if name.startswith("/outbox.")]


def test_a_server_that_is_away(stage):
    standin, image = stage.standin, stage.image()
    with stage.board(image) as board:
        assert board.wait(have(stage, 5)), board.run_so_far.log
        standin.stop()
        assert board.wait("connection lost.*\n(.*\n)*.*connection lost"), board.run_so_far.log
        before = len(stored(stage))
        board.wait(lambda _: False, 2.5)
        standin.start()
        assert board.wait("outbox: empty, [1-9]"), board.run_so_far.log
        count = len(stored(stage))
        assert count - before >= 20  # 50 in theory, on a machine that has time
        assert board.wait(have(stage, count + 5)), board.run_so_far.log
    gaps = complete(stage)
    # The board's clock and the server's are this machine's, but the board's counts whole seconds.
    assert min(gaps[before + 1 : count - 1]) > 0
    assert not outboxes(image)


def test_without_a_clock_each_sample_is_the_servers_latest_for_a_moment(stage):
    standin, image = stage.standin, stage.image()
    with stage.board(image, clock="unset") as board:
        assert board.wait(have(stage, 5)), board.run_so_far.log
        standin.stop()
        board.wait(lambda _: False, 1.5)
        standin.start()
        assert board.wait("outbox: empty, [1-9]"), board.run_so_far.log
        assert board.wait(have(stage, len(stored(stage)) + 5)), board.run_so_far.log
    # ThingsBoard keeps one value for each name and time.
    assert min(complete(stage)) > 0


def test_a_wifi_that_is_away(stage):
    image = stage.image()
    with stage.board(image, wifi=WifiPlan(down=[(1, 4)])) as board:
        assert board.wait(have(stage, 5)), board.run_so_far.log
        # What is open stays open when the radio is lost: the server's side cuts it.
        board.wait(lambda _: False, max(0, 1.5 - board.run_so_far.lines[-1][0]))
        stage.standin.end_session(stage.standin.devices()[0].name)
        assert board.wait("no such network in reach|no connection within|EHOSTUNREACH|113"), board.run_so_far.log
        assert board.wait("outbox: empty, [1-9]"), board.run_so_far.log
        count = len(stored(stage))
        assert board.wait(have(stage, count + 5)), board.run_so_far.log
    complete(stage)


def test_power_off_during_an_outage(stage):
    standin, image = stage.standin, stage.image()
    with stage.board(image) as board:
        assert board.wait(have(stage, 5)), board.run_so_far.log
        standin.stop()
        board.wait(lambda _: False, 3)
    # The numbers start again with the board: those of the first boot are in the outbox.
    left = image.get(outboxes(image)[0])
    assert left.count(b"\x1e") >= 5
    standin.start()
    with stage.board(image) as board:
        assert board.wait("outbox: empty, [1-9]"), board.run_so_far.log
        assert board.run_so_far.log.index("outbox: empty") > board.run_so_far.log.index("telemetry: connected")
    kept = left.count(b"\x1e")
    samples = stored(stage)
    assert len(samples) >= 5 + kept - 1
    complete(stage)
    assert not outboxes(image)


HEAP = b"""\
import gc

count = 0


def read():
    global count
    count += 1
    gc.collect()
    return {"count": count, "heap": gc.mem_alloc()}
"""


def test_the_heap_after_an_outage_is_that_before(stage):
    standin, image = stage.standin, stage.image()
    image.put({"/app.py": HEAP})
    least = []
    with stage.board(image) as board:
        for _ in range(4):
            assert board.wait(have(stage, len(stored(stage)) + 10)), board.run_so_far.log
            least.append(min(heap for heap, _ in list(stored_heap(stage))[-8:]))
            standin.stop()
            board.wait(lambda _: False, 1)
            standin.start()
            empties = board.run_so_far.log.count("outbox: empty")
            assert board.wait(lambda run, n=empties: run.log.count("outbox: empty") > n), board.run_so_far.log
    # MicroPython keeps the names that a module brings for ever: the first outage costs those, and no other does.
    assert least[1] - least[0] < 1024, least
    assert least[1] == least[2] == least[3], least


def stored_heap(stage):
    [device] = stage.standin.devices()
    return [(value, ts) for name, ts, value in stage.standin.telemetry(device.name) if name == "heap"]
