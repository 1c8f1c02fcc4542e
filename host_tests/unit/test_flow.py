"""The first boot in one piece on CPython: Provisioner, store and MQTT link against the stand-in."""

import json
import os
import sys
from pathlib import Path
from types import SimpleNamespace

import esp32
import firstboot
import machine
import micro
import pytest
from firstboot import board
from firstboot.candidate import derive, make
from firstboot.link import LinkError
from firstboot.link.mqtt import Link
from firstboot.loop import telemetry
from firstboot.provision import Provisioner
from firstboot.store import ASKED, VERIFIED, Store

from tools.standin.provisioning import PRE_PROVISIONED

from .fakes import NAME, Stop, config

KEEP = (65536, 60_000, "127.0.0.1", 1)
FLEET = "the fleet's own secret"


class LosingLink(Link):
    """A link on which the answer to the request gets lost after the server has acted."""

    lost = 0

    def ask(self, request):
        answer = super().ask(request)
        if self.lost:
            self.lost -= 1
            raise LinkError("the answer is lost")
        return answer


def provision(standin, mode="token", lost=0, on_pause=None, key="profile-key"):
    """Provision this test's board; returns its store. `on_pause(is_slow)` is called instead of sleeping."""
    given = config(server__port=standin.mqtt_port, credentials=mode, provision__fleet_secret=FLEET, server__timeout=5)
    store = Store(board.slots())
    link = LosingLink(given)
    link.lost = lost
    pauses = iter(range(20))

    def pause(is_slow):
        if next(pauses, None) is None:
            raise Stop
        if on_pause:
            on_pause(is_slow)

    try:
        own = make(mode, NAME, FLEET, os.urandom)
        Provisioner(link, store, NAME, key, "profile-secret", lambda: own, pause).run()
        link.send(b'{"hello":1}')
    finally:
        link.close()
    return Store(board.slots())


def wipe():
    """Erase the whole flash: files and NVS."""
    for name in os.listdir():
        os.remove(name)
    esp32.erase()


@pytest.mark.parametrize("mode", ["token", "server", "basic", "derived"])
def test_first_boot(standin, mode):
    store = provision(standin, mode)
    assert store.state == VERIFIED
    stored = standin.device(NAME).credentials
    if mode == "basic":
        assert stored.type == "MQTT_BASIC"
        own = {"clientId": NAME, "userName": store.credentials["username"], "password": store.credentials["password"]}
        assert stored.value == own
    else:
        assert (stored.type, stored.id) == ("ACCESS_TOKEN", store.credentials["token"])
    if mode == "derived":
        assert stored.id == derive(FLEET, NAME)
    assert [(name, value) for name, _, value in standin.telemetry(NAME)] == [("hello", 1)]
    assert standin.provision_requests == [NAME]


@pytest.mark.parametrize("mode", ["token", "basic", "derived"])
def test_a_lost_answer(standin, mode):
    store = provision(standin, mode, lost=1)
    assert store.state == VERIFIED
    assert standin.provision_requests == [NAME] and len(standin.devices()) == 1


def test_a_lost_answer_in_server_mode_needs_a_person(standin):
    pauses = []

    def on_pause(is_slow):
        pauses.append(is_slow)
        if pauses.count(True) == 2:
            standin.delete_device(NAME)

    store = provision(standin, "server", lost=1, on_pause=on_pause)
    assert pauses == [False, True, True]
    assert store.credentials["token"] == standin.device(NAME).credentials.id


def test_the_store_goes_on_after_a_restart(standin):
    def cut(is_slow):
        raise Stop

    with pytest.raises(Stop):
        provision(standin, lost=1, on_pause=cut)
    before = Store(board.slots())
    assert before.state == ASKED
    store = provision(standin)
    assert (store.state, store.credentials) == (VERIFIED, before.credentials)
    assert standin.provision_requests == [NAME]


def test_a_wiped_board_finds_its_way_back_with_a_derived_token(standin):
    before = provision(standin, "derived").credentials
    wipe()
    assert provision(standin, "derived").credentials == before
    assert len(standin.devices()) == 1


def test_a_wiped_board_waits_for_a_person_otherwise(standin, capsys):
    before = provision(standin).credentials
    wipe()
    slow = []

    def on_pause(is_slow):
        slow.append(is_slow)
        if len(slow) == 2:
            standin.delete_device(NAME)

    after = provision(standin, on_pause=on_pause)
    assert slow == [True, True]
    assert after.state == VERIFIED and after.credentials != before
    assert capsys.readouterr().out.count("delete this device in ThingsBoard") == 2


def test_a_wrong_key_is_asked_again_slowly(standin):
    slow = []
    with pytest.raises(Stop):
        provision(standin, key="no such key", on_pause=slow.append)
    assert slow == [True] * 20
    assert standin.devices() == []


def test_a_pre_provisioned_device_keeps_the_servers_credentials(standin):
    profile = standin.add_profile("stock", PRE_PROVISIONED, "stock-key", "profile-secret")
    standin.add_device(NAME, profile, "made-in-the-factory")
    store = provision(standin, key="stock-key")
    assert store.credentials == {"credentialsType": "ACCESS_TOKEN", "token": "made-in-the-factory"}


def test_a_server_that_is_away_for_a_while(standin):
    standin.stop()
    pauses = []

    def on_pause(is_slow):
        pauses.append(is_slow)
        if len(pauses) == 3:
            standin.start()

    assert provision(standin, on_pause=on_pause).state == VERIFIED
    assert pauses == [False] * 3
    assert len(standin.devices()) == 1


def test_telemetry_survives_a_closed_session(standin):
    credentials = provision(standin).credentials
    link = Link(config(server__port=standin.mqtt_port))
    numbers = iter(range(100))

    def read():
        n = next(numbers)
        if n == 2:
            standin.end_session(NAME)
        if n == 5:
            raise Stop
        return {"n": n}

    loop = telemetry(
        link,
        credentials,
        (None, "", 1),
        [0.02, 0.02, 0.05],
        SimpleNamespace(read=read),
        None,
        0.05,
        None,
        (65536, 60_000, "127.0.0.1", 1, "provision"),
        {"safe_mode": False},
        False,
        0,
    )
    with pytest.raises(Stop):
        loop.run()
    link.close()
    sent = [value for name, _, value in standin.received(NAME) if name == "n"]
    assert list(dict.fromkeys(sent)) == [0, 1, 2, 3, 4]  # QoS 1: at least once
    assert standin.attributes(NAME)["read_errors"] == 0


# The whole boot, from run()


@pytest.fixture
def plant(monkeypatch):
    """Write config.json, and an app that ends the run at its third sample."""
    monkeypatch.syspath_prepend(os.getcwd())
    Path("third.py").write_text(
        "samples = 0\n"
        "class Done(BaseException):\n"
        "    pass\n"
        "def read():\n"
        "    global samples\n"
        "    samples += 1\n"
        "    if samples == 3:\n"
        "        raise Done('third sample')\n"
        "    return {'sample': samples}\n"
    )

    def write(standin, **more):
        doc = {
            "server": {"host": "127.0.0.1", "port": standin.mqtt_port},
            "provision": {"key": "profile-key", "secret": "profile-secret"},
            "retry": {"first": 0.01, "most": 0.05, "refused": 0.05},
            "period": 0.05,
        }
        Path("config.json").write_text(json.dumps({**doc, **more}))

    yield write
    sys.modules.pop("third", None)


def test_run(standin, plant, capsys):
    plant(standin)
    with pytest.raises(BaseException, match="third sample"):
        firstboot.run("third")
    [device] = standin.devices()
    assert device.name == "ESP32-240ac4010203"
    assert [(name, value) for name, _, value in standin.received(device.name)] == [("sample", 1), ("sample", 2)]
    assert standin.attributes(device.name)["firstboot_version"] == firstboot.__version__
    out = capsys.readouterr().out
    assert device.credentials.id not in out
    assert "profile-secret" not in out and "profile-key" not in out


def test_run_waits_for_a_better_config(standin, plant, monkeypatch, capsys):
    Path("config.json").write_text("{")

    def sleep(ms):
        plant(standin)

    monkeypatch.setattr(micro.time, "sleep_ms", sleep)
    with pytest.raises(machine.Reset):
        firstboot.run("third")
    assert "config.json" in capsys.readouterr().out
    assert machine.flashes == 2


def test_run_hands_a_revoked_identity_back(standin, plant):
    plant(standin)
    with pytest.raises(BaseException, match="third sample"):
        firstboot.run("third")
    [device] = standin.devices()
    standin.delete_device(device.name)
    with pytest.raises(machine.Reset):
        firstboot.run("third")
    kept = Store(board.slots()).credentials
    sys.modules.pop("third")
    with pytest.raises(BaseException, match="third sample"):
        firstboot.run("third")
    assert standin.device(device.name).credentials.id == kept["token"]


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs a device that is always full")
def test_run_never_returns_even_if_a_revoked_identity_can_not_be_written(standin, plant):
    plant(standin)
    with pytest.raises(BaseException, match="third sample"):
        firstboot.run("third")
    [device] = standin.devices()
    standin.delete_device(device.name)
    for name in ("identity.0.new", "identity.1.new"):
        os.symlink("/dev/full", name)
    with pytest.raises(machine.Reset):
        firstboot.run("third")
