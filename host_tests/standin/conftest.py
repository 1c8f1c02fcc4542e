"""A stand-in for a whole test module, and devices on it."""

import itertools

import pytest

from tools.standin import Limits, Standin

_numbers = itertools.count(1)


@pytest.fixture(scope="module")
def server():
    """A stand-in whose own waits are short: 60 s are 0.6 s."""
    with Standin(scale=0.01) as running:
        running.add_profile()
        yield running


@pytest.fixture
def device(server):
    """A new device; its name is also its token."""
    name = f"device-{next(_numbers)}"
    server.add_device(name, server.registry.profiles()[0], name)
    yield name
    server.set_limits(Limits())
