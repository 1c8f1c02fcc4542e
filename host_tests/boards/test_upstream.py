"""boards/ against MicroPython's own tree: as BOARD_DIRs they are upstream's boards plus firstboot, and the figures in
board.json are those that the ports are built with."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tools import boards
from tools.places import BOARDS, FIRMWARE

NAMES = boards.names()
PORTS = {name: boards.load(name).port for name in NAMES}
VARIANTS = [
    ("ESP32_GENERIC", ""),
    ("ESP32_GENERIC", "SPIRAM"),
    ("ESP32_GENERIC_C3", ""),
    ("ESP32_GENERIC_S3", ""),
    ("ESP32_GENERIC_S3", "SPIRAM_OCT"),
    ("RPI_PICO2_W", ""),
    ("RPI_PICO_W", ""),
]
CMAKE = Path(sys.executable).with_name("cmake")

# The part of the ports' CMakeLists.txt that deals with boards.
SCRIPT = """
include(${MICROPY_BOARD_DIR}/mpconfigboard.cmake)
if(MICROPY_BOARD_VARIANT)
    include(${MICROPY_BOARD_DIR}/mpconfigvariant_${MICROPY_BOARD_VARIANT}.cmake)
else()
    include(${MICROPY_BOARD_DIR}/mpconfigvariant.cmake OPTIONAL)
endif()
get_cmake_property(names VARIABLES)
foreach(name ${names})
    if(name MATCHES "^(MICROPY|IDF|SDKCONFIG|PICO)")
        message("${name}=${${name}}")
    endif()
endforeach()
"""


def configured(port, folder, variant, tmp_path):
    """The variables that this BOARD_DIR leaves the port with."""
    script = tmp_path / "board.cmake"
    script.write_text(SCRIPT)
    more = [f"-DMICROPY_BOARD_VARIANT={variant}"] if variant else []
    if port.name == "rp2":
        more.append(f"-DMICROPY_PORT_DIR={port}")
    done = subprocess.run(
        [str(CMAKE), f"-DMICROPY_BOARD_DIR={folder}", *more, "-P", str(script)],
        cwd=port,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    return dict(line.split("=", 1) for line in done.stderr.splitlines() if "=" in line)


@pytest.mark.parametrize(("name", "variant"), VARIANTS)
def test_a_board_is_upstreams_but_for_the_manifest(micropython, tmp_path, name, variant):
    port = micropython / "ports" / PORTS[name]
    ours = configured(port, BOARDS / name, variant, tmp_path)
    upstreams = configured(port, port / "boards" / name, variant, tmp_path)
    own = {"MICROPY_BOARD_DIR", "MICROPY_FROZEN_MANIFEST"}
    assert {key: ours[key] for key in ours if key not in own} == {
        key: upstreams[key] for key in upstreams if key not in own
    }
    assert Path(ours["MICROPY_FROZEN_MANIFEST"]) == BOARDS / name / "manifest.py"
    for settings in ours.get("SDKCONFIG_DEFAULTS", "").split(";"):
        assert (port / settings).exists()
    board = boards.load(name)
    # The ESP32 is the port's default: its board names no target.
    assert board.mcu == ours.get("IDF_TARGET", ours.get("PICO_PLATFORM", board.mcu))


@pytest.mark.parametrize("name", NAMES)
def test_a_boards_manifest_adds_firstboot_to_what_upstream_freezes(micropython, read, name):
    port = PORTS[name]
    upstreams = micropython / "ports" / port / "boards" / name / "manifest.py"
    if not upstreams.exists():
        upstreams = micropython / "ports" / port / "boards/manifest.py"
    folder = BOARDS / name
    ours = read(folder / "manifest.py", port, board=folder)
    added = set(ours) - set(read(upstreams, port))
    package = {str(p.relative_to(FIRMWARE)) for p in (FIRMWARE / "firstboot").rglob("*.py")}
    assert added - {"umqtt/simple.py", "frozen_names.py"} == package
    assert not set(read(upstreams, port)) - set(ours)
    assert "_boot.py" in ours and "umqtt/simple.py" in ours


def preprocessed(port, folder):
    """The macros that mpconfigboard.h of a BOARD_DIR defines."""
    command = ["gcc", "-E", "-dM", "-I", str(folder), "-I", str(port), "-x", "c", "-"]
    done = subprocess.run(command, input='#include "mpconfigboard.h"\n', capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("name", NAMES)
def test_a_boards_header_is_upstreams(micropython, name):
    port = micropython / "ports" / PORTS[name]
    ours = preprocessed(port, BOARDS / name)
    assert ours == preprocessed(port, port / "boards" / name)
    product, chip = boards.load(name).machine.split(" with ")
    assert f'#define MICROPY_HW_BOARD_NAME "{product}"' in ours
    assert chip.startswith("RP2") or f'#define MICROPY_HW_MCU_NAME "{chip}"' in ours


def pins(port, csv, tmp_path):
    """What the port's own generator makes of a pins.csv."""
    board = ["--board-csv", str(csv)] if csv.exists() else []
    more = ["--num-gpios", "30", "--num-ext-gpios", "10"] if port.name == "rp2" else []
    if port.name == "rp2":
        functions = next(path for path in (port / "boards").glob("rp2*_af.csv"))
        more += ["--af-csv", str(functions), "--prefix", str(port / "boards/rp2_prefix.c")]
    else:
        more += ["--prefix", str(port / "boards/pins_prefix.c")]
    out = ["--output-source", str(tmp_path / "pins.c"), "--output-header", str(tmp_path / "pins.h")]
    command = [sys.executable, str(port / "boards/make-pins.py"), *board, *more, *out]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return re.findall(r"MP_QSTR_(\w+)\), MP_ROM_PTR\((\S+)\)", (tmp_path / "pins.c").read_text())


@pytest.mark.parametrize("name", NAMES)
def test_a_boards_pins_are_upstreams_and_the_led(micropython, tmp_path, name):
    port = micropython / "ports" / PORTS[name]
    ours = pins(port, BOARDS / name / "pins.csv", tmp_path)
    upstreams = pins(port, port / "boards" / name / "pins.csv", tmp_path)
    board = boards.load(name)
    added = [pin for pin in ours if pin not in upstreams]
    if isinstance(board.led, int):
        assert [pin for pin, _ in added] == ["LED"] and str(board.led) in added[0][1]
    else:
        assert added == []
        assert (board.led == "LED") == ("LED" in dict(ours))


@pytest.mark.parametrize("name", NAMES)
def test_the_file_system_is_where_the_port_puts_it(micropython, name):
    board = boards.load(name)
    port = micropython / "ports" / board.port
    if board.port == "esp32":
        assert 'FILENAME="partitions-4MiBplus.csv"' in (port / "boards/sdkconfig.base").read_text()
        rows = re.findall(
            r"^(\w+),\s*\w+,\s*\w+,\s*(\w+),\s*(\w+),", (port / "partitions-4MiBplus.csv").read_text(), re.M
        )
        table = {name: boards.Area(int(offset, 16), int(size, 16)) for name, offset, size in rows}
        assert table["nvs"] == board.nvs
        # The port adds a partition from the last one of the table to the end of the flash.
        assert max(area.offset + area.size for area in table.values()) == board.fs.offset
        return
    text = preprocessed(port, BOARDS / name)
    found = re.search(r"MICROPY_HW_FLASH_STORAGE_BYTES \((PICO_FLASH_SIZE_BYTES - )?(\d+) \* 1024\)", text)
    size = int(found[2]) * 1024
    assert board.fs.size == (board.flash_size - size if found[1] else size)
    assert f"progsize={board.prog}" in (port / "modules/_boot.py").read_text()


def test_heap_and_watchdog_are_the_ports(micropython):
    heaps = (micropython / "ports/esp32/mpconfigport.h").read_text()
    esp32, _, others = re.findall(r"MICROPY_GC_INITIAL_HEAP_SIZE +\((\d+) \* 1024\)", heaps)
    most = (micropython / "ports/rp2/machine_wdt.c").read_text()
    for name in NAMES:
        board = boards.load(name)
        if board.port == "esp32":
            assert board.heap == int(esp32 if name == "ESP32_GENERIC" else others) * 1024
        else:
            assert board.watchdog_ms == int(re.search(r"WDT_TIMEOUT_MAX (\d+)", most)[1])
            assert board.heap is None


@pytest.mark.parametrize("name", NAMES)
def test_there_is_nothing_else_in_a_boards_folder(name):
    wanted = {"README.md", "board.json", "manifest.py", "mpconfigboard.cmake", "mpconfigboard.h"}
    found = set(os.listdir(BOARDS / name))
    assert wanted <= found
    assert all(re.fullmatch(r"pins\.csv|mpconfigvariant\w*\.cmake", other) for other in found - wanted)
