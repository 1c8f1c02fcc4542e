"""Joining the Wi-Fi, with the numbers of both ports."""

import network
import pytest

from .peer import Stopwatch


@pytest.fixture(params=["esp32", "rp2"])
def port(request):
    return request.param


def test_no_ssid_leaves_the_radio_alone(radio):
    wifi = radio()
    wifi.join(None, "", 1)
    assert network.station.connects == [] and not network.station.active()


def test_join(radio, port, capsys):
    wifi = radio(port=port, networks={"net": "secret-word"}, join_ms=50)
    wifi.join("net", "secret-word", 5)
    assert network.station.isconnected()
    assert network.station.connects == [("net", "secret-word")]
    out = capsys.readouterr().out
    assert "net" in out and "192.0.2.7" in out and "secret-word" not in out


def test_an_open_network(radio, port):
    wifi = radio(port=port, networks={"net": ""})
    wifi.join("net", "", 5)
    assert network.station.isconnected()


def test_a_joined_station_is_not_disturbed(radio, port):
    wifi = radio(port=port, networks={"net": "x"})
    wifi.join("net", "x", 5)
    wifi.join("net", "x", 5)
    assert len(network.station.connects) == 1


def test_the_radio_does_not_nap(radio, port):
    wifi = radio(port=port, networks={"net": "x"})
    wifi.join("net", "x", 5)
    assert network.station.settings["pm"] == network.WLAN.PM_NONE


def test_a_wrong_password_names_its_field(radio, port):
    wifi = radio(port=port, networks={"net": "right"})
    with pytest.raises(OSError, match=r"wifi\.password"), Stopwatch() as watch:
        wifi.join("net", "wrong", 5)
    assert watch.seconds < 1
    assert not network.station.isconnected()


def test_a_missing_network_names_its_field(radio, port):
    wifi = radio(port=port, networks={"other": "x"})
    with pytest.raises(OSError, match=r"wifi\.ssid"):
        wifi.join("net", "x", 5)


@pytest.mark.parametrize(
    ("port", "end"), [("esp32", "STAT_ASSOC_FAIL"), ("esp32", "STAT_HANDSHAKE_TIMEOUT"), ("rp2", "STAT_CONNECT_FAIL")]
)
def test_other_failures_end_the_attempt(radio, port, end):
    wifi = radio(port=port, end=end)
    with pytest.raises(OSError, match=r"wifi: \w+"), Stopwatch() as watch:
        wifi.join("net", "x", 5)
    assert watch.seconds < 1


def test_no_answer_ends_at_the_deadline(radio, port):
    wifi = radio(port=port, networks={"net": "x"}, join_ms=60_000)
    with pytest.raises(OSError, match="no connection within"), Stopwatch() as watch:
        wifi.join("net", "x", 0.3)
    assert 0.25 < watch.seconds < 1


def test_a_failed_attempt_can_be_followed_by_another(radio, port):
    wifi = radio(port=port, networks={"net": "x"}, join_ms=60_000)
    with pytest.raises(OSError):
        wifi.join("net", "x", 0.1)
    network.station.join_ms = 0
    wifi.join("net", "x", 5)  # ESP32 refuses connect() while an attempt is on
    assert network.station.isconnected()


def test_a_station_that_some_boot_code_started_is_taken_over(radio):
    wifi = radio(networks={"net": "x"}, join_ms=60_000)
    network.station.active(True)
    network.station.connect("elsewhere", "y")
    network.station.join_ms = 0
    wifi.join("net", "x", 5)
    assert network.station.isconnected()
