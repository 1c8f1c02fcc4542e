"""What differs from port to port, and waiting with the watchdog."""

import pathlib

import firstboot
import machine
import micro
import network
import pytest
from firstboot import board, config_wait

from .peer import Stopwatch


@pytest.fixture
def watchdog(monkeypatch):
    """A running watchdog, forgotten afterwards."""
    monkeypatch.setattr(firstboot, "watchdog", None)
    board.start(8)
    return machine.watchdogs[0]


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("Generic ESP32 module with ESP32", "ESP32"),
        ("Generic ESP32S3 module with Octal-SPIRAM with ESP32S3", "ESP32S3"),
        ("Raspberry Pi Pico W with RP2040", "RP2040"),
        ("Raspberry Pi Pico 2 W with RP2350", "RP2350"),
    ],
)
def test_kind(monkeypatch, text, kind):
    monkeypatch.setattr(micro.os, "uname", lambda: ("s", "n", "r", "v", text))
    assert board.model() == kind


def test_name_fills_the_template():
    network.start(mac=b"\x02\0\0\0\0\x0a")
    machine.start(uid=b"\xe6\x61\x00\x0f")
    assert board.name("{board}-{mac}") == "ESP32-02000000000a"
    assert board.name("pump {uid}/{uid}") == "pump e661000f/e661000f"
    assert board.name("fixed") == "fixed"


def test_the_address_of_a_radio_that_was_never_on():
    """On Ethernet, or at a fresh REPL: a Pico W tells it once the radio was on, and zeros would be every board's."""
    network.start("rp2", mac=b"\x28\xcd\xc1\0\0\x0a")
    assert board.name("{mac}") == "28cdc100000a"


def test_the_watchdog_is_off_by_default():
    board.start(0)
    assert machine.watchdogs == []


def test_pause_feeds_the_watchdog_every_second(watchdog, monkeypatch):
    assert watchdog.timeout == 8000
    slept = []
    monkeypatch.setattr(micro.time, "sleep_ms", lambda ms: slept.append((ms, watchdog.fed)))
    firstboot.pause(3500)
    assert sum(ms for ms, _ in slept) == 3500
    assert max(ms for ms, _ in slept) <= 1000
    assert [fed for _, fed in slept] == [0, 1, 2, 3]


def test_pause_takes_its_time():
    with Stopwatch() as watch:
        firstboot.pause(120)
    assert 0.1 < watch.seconds < 0.5


def test_feeding_without_a_watchdog_does_nothing():
    firstboot.feed()


def test_blink(monkeypatch):
    monkeypatch.setattr(micro.time, "sleep_ms", lambda ms: None)
    config_wait.blink(3)
    assert machine.flashes == 3


@pytest.mark.parametrize("changes", [True, False])
def test_a_config_is_waited_for_for_ten_minutes(monkeypatch, capsys, changes):
    # Where a firmware on trial can't use it, the reset brings the old one back.
    waited = []

    def sleep(ms):
        waited.append(ms)
        if changes and sum(waited) > 60_000:
            pathlib.Path("config.json").write_text("{}")

    monkeypatch.setattr(micro.time, "sleep_ms", sleep)
    pathlib.Path("config.json").write_text("{")
    with pytest.raises(machine.Reset):
        config_wait.wait("config.json", ValueError("config.json", "is no JSON"))
    least = 60_000 if changes else 590_000
    assert least < sum(waited) < least + 20_000
    assert "config: starting again" in capsys.readouterr().out


def test_a_board_without_an_led_stays_dark(monkeypatch):
    machine.start(leds=())
    config_wait.blink(3)
    assert machine.flashes == 0


def test_reset():
    with pytest.raises(machine.Reset):
        board.reset()
