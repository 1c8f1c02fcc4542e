"""Crashes in a row, over resets: when they count, when the app is left out, and when it is tried again."""

import json
import os

import firstboot
import machine
import pytest
from firstboot import board, crash, ended, errand, ready

TEXT = "reset without a word"


def boot(cause=machine.WDT_RESET):
    machine.start(cause=cause)
    return crash.begin()


def test_a_power_up_writes_nothing():
    assert boot(machine.PWRON_RESET) == (False, None, False)
    assert not os.listdir()


@pytest.mark.parametrize("cause", [machine.WDT_RESET, machine.HARD_RESET])
def test_five_in_a_row_leave_the_app_out_until_the_next_power_up(cause):
    boot(machine.PWRON_RESET)
    assert [boot(cause)[0] for _ in range(7)] == [False] * 4 + [True] * 3
    assert boot(machine.PWRON_RESET)[0] is False
    assert [boot(cause)[0] for _ in range(4)] == [False] * 4


def test_safe_mode_writes_no_more():
    for _ in range(5):
        boot()
    before = os.stat("crash.json").st_mtime_ns
    assert boot()[0] and not boot()[2]
    assert os.stat("crash.json").st_mtime_ns == before


def test_a_minute_breaks_the_row():
    for _ in range(4):
        assert boot()[2]
    crash.clear()
    assert [boot()[0] for _ in range(4)] == [False] * 4


@pytest.mark.parametrize("cause", [machine.SOFT_RESET, machine.DEEPSLEEP_RESET])
def test_what_somebody_wanted_is_no_crash(cause):
    for _ in range(4):
        boot()
    assert boot(cause) == (False, None, False)
    assert not boot()[0]


def test_what_firstboot_wanted_is_no_crash():
    for _ in range(4):
        boot()
    crash.clear()
    assert boot(machine.HARD_RESET) == (False, None, True)  # nothing is told; from here on it counts anew
    assert boot()[1].startswith(TEXT)


@pytest.fixture
def rp2(monkeypatch):
    """A port that tells the power-up from all other resets, and no more."""
    for name in ("HARD_RESET", "SOFT_RESET", "DEEPSLEEP_RESET"):
        monkeypatch.delattr(machine, name)


@pytest.mark.usefixtures("rp2")
def test_an_rp2_tells_a_hang_from_a_reset_that_was_wanted():
    assert boot(machine.PWRON_RESET) == (False, None, False)
    for _ in range(3):
        crash.clear()  # a minute went by, or it was an update
        assert boot() == (False, None, True)
    with pytest.raises(KeyboardInterrupt):
        ended.end(None, KeyboardInterrupt())
    assert boot()[1] is None
    assert boot()[1].startswith(TEXT)  # nothing has cleared the boot before
    assert [boot()[0] for _ in range(3)] == [False, False, True]


def test_a_chip_that_knows_its_watchdog_tells_of_a_late_hang_too():
    boot()
    crash.clear()
    assert boot()[1].startswith(TEXT)


def test_safe_mode_is_not_ended_by_a_minute():
    assert [boot()[2] for _ in range(6)] == [True] * 4 + [False] * 2


def test_the_report_is_sent_once_and_by_safe_mode_always():
    try:
        raise ValueError("no such sensor")
    except ValueError as e:
        crash.note(e)
    report = boot(machine.HARD_RESET)[1]
    assert "no such sensor" in report and "test_crash" in report
    assert boot(machine.HARD_RESET)[1] is None
    for _ in range(3):
        crash.note(KeyError("x"))
        assert "KeyError" in boot(machine.HARD_RESET)[1]
    for _ in range(2):
        assert "KeyError" in boot(machine.HARD_RESET)[1]


def test_the_watchdog_leaves_a_word_too():
    assert TEXT in boot()[1]
    assert boot(machine.HARD_RESET)[1] is None


def test_a_report_is_bounded_and_tells_no_secret():
    errand("secrets", "hide", ["hunter2-hunter2"])
    crash.note(ValueError("the password is hunter2-hunter2, " + "x" * 2000))
    assert os.stat("crash.json").st_size < 600
    crash.note(ValueError("the password is hunter2-hunter2"))
    assert "***" in boot()[1]


@pytest.mark.parametrize("data", [b"", b"[", b"7", b"[1]", b'["x",null]', b"[1,2]", b"\xff\xfe", b"{}"])
def test_a_broken_count_is_none(data):
    with open("crash.json", "wb") as f:
        f.write(data)
    assert boot() == (False, boot()[1], True)


def test_a_full_flash_does_not_stop_the_boot(monkeypatch, capsys):
    def full(name, mode):
        raise OSError(28, "ENOSPC")

    monkeypatch.setattr(crash, "open", full, raising=False)
    assert boot()[0] is False
    assert "can't count crashes" in capsys.readouterr().out


def test_the_safe_app_reads_something(capsys):
    from firstboot import safe

    app = ready._app("firstboot.safe")
    assert app is safe and json.dumps(app.read())


def test_a_watchdog_longer_than_the_port_has_is_the_ports_longest(monkeypatch):
    class Wdt(machine.WDT):
        def __init__(self, timeout):
            if timeout > 8388:
                raise ValueError("timeout exceeds 8388")
            super().__init__(timeout=timeout)

    monkeypatch.setattr(machine, "WDT", Wdt)
    monkeypatch.setattr(firstboot, "watchdog", None)
    board.start(300)
    assert firstboot.watchdog.timeout == 8388
    board.start(2)
    assert firstboot.watchdog.timeout == 2000
