"""Virtual boards for the tests of this folder."""

import itertools
import json

import pytest

from tools.build import firmware, microcoapy
from tools.stage import COUNTING
from tools.standin import Standin
from tools.vboard import Image, VirtualBoard


@pytest.fixture
def make_board(tmp_path):
    """Make a board that knows the server at `port`; `config`: further sections, or members of sections."""
    numbers = itertools.count(1)

    def make(port, transport="mqtt", files=None, kind="ESP32_GENERIC", clock="set", **config):
        sections = {
            "wifi": {"ssid": "lab", "password": "lab-password"},
            "server": {"host": "127.0.0.1", "port": port, "timeout": 2},
            "transport": transport,
            "provision": {"key": "profile-key", "secret": "profile-secret"},
            "retry": {"first": 0.1, "most": 0.3, "refused": 0.5},
            "period": 0.05,
        }
        for name, value in config.items():
            sections[name] = {**sections.get(name, {}), **value} if isinstance(value, dict) else value
        image = Image(tmp_path / f"flash-{next(numbers)}").format()
        library = microcoapy() if transport == "coap" else {}
        image.put({**firmware(), **library, "/app.py": COUNTING, "/config.json": json.dumps(sections).encode()})
        image.put(files or {})
        return VirtualBoard(image, kind, clock=clock)

    return make


@pytest.fixture
def secure():
    """A stand-in that has its TLS ports open, with the profile that every board here knows."""
    with Standin(tls=True) as server:
        server.add_profile()
        yield server
