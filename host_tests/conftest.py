"""Makes the firmware importable on CPython, and starts the stand-in for tests that ask for it."""

import sys

import pytest

from tools.places import FIRMWARE, MICROCOAPY, ROOT

sys.path[:0] = [str(FIRMWARE), str(ROOT / "host_tests/shims"), str(MICROCOAPY.parent)]

import micro  # noqa: E402 - it is on the path only now

micro.install()


@pytest.fixture
def standin():
    """A fresh stand-in with one profile, "profile-key" and "profile-secret", that lets devices be created."""
    from tools.standin import Standin

    with Standin() as server:
        server.add_profile()
        yield server
