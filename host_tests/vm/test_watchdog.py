"""A board that hangs is reset, one that waits is not; five crashes in a row leave the app out."""

import pytest

from tools.stage import COUNTING, Stage
from tools.vboard import WifiPlan

pytestmark = pytest.mark.vm

HANGS = b"""\
def read():
    while True:
        pass
"""
# The RP2 tells a watchdog from a power-up, and nothing else.
PICO = "RPI_PICO_W"


def stage(app, **config):
    retry = {"first": 0.1, "most": 0.3}
    return Stage(files={"/app.py": app}, config={"period": 0.1, "retry": retry, "watchdog": 1.5, **config})


def attributes(stage):
    [device] = stage.standin.devices()
    return stage.standin.attributes(device.name)


def has(stage, **wanted):
    return lambda _: wanted.items() <= attributes(stage).items()


@pytest.mark.parametrize("kind", [PICO, "ESP32_GENERIC"])
def test_a_hanging_read_ends_in_safe_mode_and_is_tried_again_at_the_next_power_up(kind):
    with stage(HANGS) as one:
        image = one.image()
        with one.board(image, kind=kind) as board:
            assert board.wait("safe mode: ", 60), board.run_so_far.log
            assert board.wait(has(one, safe_mode=True), 20), board.run_so_far.log
            run = board.run_so_far
        assert run.boots == 6
        assert "the watchdog" in attributes(one)["crash"]
        assert "heap_free" in {name for name, _, _ in one.standin.telemetry(one.standin.devices()[0].name)}
        image.put({"/app.py": COUNTING})
        with one.board(image, kind=kind) as board:
            assert board.wait(has(one, safe_mode=False), 20), board.run_so_far.log
        assert not image.exists("/crash.json")


def test_an_app_that_resets_the_board_ends_in_safe_mode_too():
    with stage(b"import machine\n\n\ndef read():\n    machine.reset()\n", watchdog=0) as one:
        with one.board(one.image()) as board:
            assert board.wait(has_safe(one), 30), board.run_so_far.log
        assert board.run_so_far.boots == 6


def has_safe(one):
    return lambda run: run.has("safe mode: ") and attributes(one).get("safe_mode")


def test_a_join_longer_than_the_watchdog_is_no_hang():
    with (
        stage(COUNTING) as one,
        one.board(one.image(), kind=PICO, wifi=WifiPlan(join_ms=4000)) as board,
    ):
        assert board.wait("telemetry: acknowledged", 30), board.run_so_far.log
        assert board.run_so_far.boots == 1


def test_an_outage_longer_than_the_watchdog_is_no_hang():
    with stage(COUNTING, retry={"first": 4, "most": 4}) as one, one.board(one.image(), kind=PICO) as board:
        assert board.wait("telemetry: acknowledged", 20), board.run_so_far.log
        one.standin.stop()
        assert board.wait("connection lost.*\n(.*\n)*.*connection lost", 20), board.run_so_far.log
        one.standin.start()
        assert board.wait("outbox: empty", 30), board.run_so_far.log
        assert board.run_so_far.boots == 1


def test_a_period_without_a_pause_feeds_too():
    with stage(COUNTING, period=0) as one, one.board(one.image(), kind=PICO) as board:
        assert board.wait(lambda run: run.lines and run.lines[-1][0] > 0 and count(one) > 1000, 30)
        board.wait(lambda _: False, 2)
        assert board.run_so_far.boots == 1


def count(one):
    return sum(len(one.standin.received(device.name)) for device in one.standin.devices())


def test_a_watchdog_beyond_the_ports_reach_is_cut():
    with stage(COUNTING, watchdog=300) as one, one.board(one.image(), kind=PICO) as board:
        assert board.wait("telemetry: acknowledged", 20), board.run_so_far.log
        assert board.run_so_far.boots == 1


FED = b"""\
import firstboot


def read():
    while True:
        firstboot.watchdog.feed()
"""


def test_a_watchdog_that_a_timer_feeds_would_not_notice_a_hang():
    # The mutation check of the tests above: here the hanging app does what a timer would do.
    with stage(FED) as one, one.board(one.image(), kind=PICO) as board:
        assert board.wait("identity: verified", 20), board.run_so_far.log
        board.wait(lambda _: False, 4.5)  # three times the watchdog's limit
        assert board.run_so_far.boots == 1 and not board.run_so_far.has("acknowledged")
