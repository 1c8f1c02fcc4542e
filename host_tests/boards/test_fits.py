"""The static proof: types, imports and syntax of firmware/, per port and MicroPython release."""

import re

import pytest

from tools import fits
from tools.versions import MPY_CROSS, NEWEST, OLDEST, PORTS, STUBS, mpy_cross


@pytest.mark.parametrize("release", STUBS)
@pytest.mark.parametrize("port", PORTS)
def test_the_firmware_is_clean_against_the_ports_stubs(port, release):
    assert fits.told(fits.types(port, release)) == []


@pytest.mark.parametrize("release", STUBS)
@pytest.mark.parametrize("port", PORTS)
def test_the_port_has_every_module_of_the_table(port, release):
    assert fits.missing(port, release) == set()


def test_every_import_is_in_the_table_or_caught():
    assert fits.imports() == []


def test_every_excuse_is_still_needed():
    lines = [line for port in PORTS for line in fits.types(port, NEWEST)]
    assert [gap for gap in fits.GAPS if not any(re.search(gap, line) for line in lines)] == []


@pytest.mark.parametrize("release", [OLDEST, NEWEST])
def test_every_file_compiles(release):
    assert fits.syntax(release) == []


def test_stubs_and_compilers_are_of_the_same_releases():
    assert list(STUBS) == [OLDEST, NEWEST] == [list(MPY_CROSS)[0], list(MPY_CROSS)[-1]]
    assert mpy_cross(OLDEST) != mpy_cross(NEWEST)


@pytest.fixture
def other(monkeypatch, tmp_path):
    """A firmware with this one file."""

    def lay(text):
        (tmp_path / "wrong.py").write_text(text)
        monkeypatch.setattr(fits, "FIRMWARE", tmp_path)

    return lay


@pytest.mark.parametrize(
    "text",
    [
        "import time\n\ndef wait():\n    time.sleep_milliseconds(5)\n",
        "import machine\n\ndef watch():\n    machine.WDT(seconds=5)\n",
        "from network import Radio\n",
    ],
)
@pytest.mark.parametrize("port", PORTS)
def test_what_a_port_has_not_is_found(other, port, text):
    other(text)
    assert [line for line in fits.told(fits.types(port, NEWEST)) if line.startswith("wrong.py:")]


def test_an_import_that_a_board_lacks_is_found(other):
    other("try:\n    import esp32\nexcept ImportError:\n    import typing\nimport esp, json\nfrom rp2 import Flash\n")
    assert fits.imports() == [
        "wrong.py:4: typing is not on every board",
        "wrong.py:5: esp is not on every board",
        "wrong.py:6: rp2 is not on every board",
    ]


def test_what_the_compiler_refuses_is_found(other):
    other("match x:\n    case 1:\n        pass\n")
    assert "SyntaxError" in fits.syntax(OLDEST)[0]
