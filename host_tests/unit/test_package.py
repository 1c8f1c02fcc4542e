"""package.json and boards/frozen_names.py list the files that there are."""

import json

import tools.package
from tools.places import FIRMWARE, ROOT


def test_the_index_is_up_to_date():
    assert (ROOT / "package.json").read_text() == tools.package.current(), "run: python -m tools.package"


def test_the_names_for_rom_are_up_to_date():
    assert tools.package.NAMES.read_text() == tools.package.names(), "run: python -m tools.package"


def test_the_index_lists_each_file_once_and_every_file_is_there():
    data = json.loads((ROOT / "package.json").read_text())
    places = [place for place, _ in data["urls"]]
    assert len(set(places)) == len(places) == len(list((FIRMWARE / "firstboot").rglob("*.py")))
    assert all((ROOT / url).is_file() for _, url in data["urls"])


def test_a_file_more_or_less_is_drift(monkeypatch):
    modules = tools.package.modules()
    written, named = tools.package.current(), tools.package.names()
    for other in (modules + ["firstboot/more.py"], modules[:-1]):
        monkeypatch.setattr(tools.package, "modules", lambda other=other: other)
        assert tools.package.current() != written and tools.package.names() != named
