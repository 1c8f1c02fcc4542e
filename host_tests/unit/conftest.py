"""Every unit test starts with a board that was just powered up, in a directory of its own."""

import importlib
import sys

import esp32
import firstboot
import machine
import micro
import network
import pytest


@pytest.fixture(autouse=True)
def board(monkeypatch, tmp_path):
    """A fresh board with an empty flash: the current directory."""
    monkeypatch.chdir(tmp_path)
    machine.start()
    network.start()
    esp32.erase()
    firstboot._secrets.clear()
    monkeypatch.setattr(firstboot, "_began", micro.time.ticks_ms())
    monkeypatch.setattr(firstboot, "watchdog", None)
    monkeypatch.setattr(firstboot, "step", None)
    modules = {name: module for name, module in sys.modules.items() if name.startswith("firstboot.")}
    yield tmp_path
    sys.modules.update(modules)  # errands forget what they needed
    for name, module in modules.items():
        package, _, child = name.rpartition(".")
        setattr(sys.modules[package], child, module)


@pytest.fixture
def no_nvs(monkeypatch):
    """A port without `esp32`."""
    monkeypatch.setitem(sys.modules, "esp32", None)


@pytest.fixture
def radio():
    """Power the board up with this Wi-Fi plan (network.start's arguments); returns firstboot.wifi."""
    from firstboot import wifi

    def start(**plan):
        network.start(**plan)
        return importlib.reload(wifi)

    yield start
    network.start()
    importlib.reload(wifi)
