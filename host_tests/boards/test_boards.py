"""boards/*/board.json: coherent in itself, and each is a virtual board that provisions itself."""

import json
import re

import pytest

from tools import boards
from tools.places import BOARDS
from tools.stage import Stage
from tools.vboard.board import KINDS

NAMES = ["ESP32_GENERIC", "ESP32_GENERIC_C3", "ESP32_GENERIC_S3", "RPI_PICO2_W", "RPI_PICO_W"]


def test_these_boards_are_known_and_no_other_is():
    assert boards.names() == NAMES == list(KINDS)
    with pytest.raises(boards.BoardError, match=r"no board PYBV11; firstboot knows ESP32_GENERIC, .*RPI_PICO_W"):
        boards.load("PYBV11")


@pytest.mark.parametrize("name", NAMES)
def test_the_file_system_is_in_the_flash(name):
    board = boards.load(name)
    assert board.fs.offset % board.block == board.fs.size % board.block == board.fs.offset % board.prog == 0
    assert board.fs.offset + board.fs.size == board.flash_size  # on both ports it is the last thing in flash
    assert board.firmware < board.fs.offset
    assert (board.nvs is None) == (board.port == "rp2")
    if board.nvs:
        assert board.nvs.offset + board.nvs.size <= 0x10000  # the application starts there
    assert board.fs_on(board.flash_size) == board.fs


def test_a_larger_flash_has_a_larger_file_system_on_esp32_only():
    assert boards.load("ESP32_GENERIC").fs_on(16 << 20) == boards.Area(0x200000, 14 << 20)
    assert boards.load("RPI_PICO_W").fs_on(16 << 20) == boards.Area(0x12C000, 848 << 10)


@pytest.mark.parametrize("name", NAMES)
def test_port_and_chip_agree(name):
    board = boards.load(name)
    assert (board.uf2 is not None) == (board.port == "rp2")
    assert board.mcu == board.chip.lower()
    assert board.mcu.startswith("esp32" if board.port == "esp32" else "rp2")
    assert board.watchdog_ms >= 8388  # so a config made for one board suits the other
    assert all(re.fullmatch("[0-9a-f]{4}:[0-9a-f]{4}", usb) for usb in board.usb)


@pytest.mark.parametrize("name", NAMES)
def test_a_virtual_board_of_this_kind_provisions_itself(name):
    board = boards.load(name)
    with Stage() as stage:
        made = stage.board(stage.image(), kind=name)
        run = made.run("telemetry: acknowledged", timeout=60)
        assert run.ended == "found", run.log
        assert f"firstboot on {board.chip}" in run.log
        assert [device.name for device in stage.standin.devices()] == [f"{board.chip}-{made.mac}"]


def test_upstreams_fields_have_upstreams_form():
    for name in NAMES:
        data = json.loads((BOARDS / name / "board.json").read_text())
        assert all(isinstance(data[field], str) for field in ("mcu", "vendor", "product", "url"))
        assert data["features"] == sorted(data["features"]) and "WiFi" in data["features"]
