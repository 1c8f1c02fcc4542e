"""The configuration: every bad input names its field."""

import copy
import json
from pathlib import Path

import pytest
from firstboot import config

BASE = {"server": {"host": "tb"}, "provision": {"key": "k", "secret": "s"}}
EXAMPLE = Path(__file__).parent.parent.parent / "firmware" / "config.example.json"
GONE = object()


def changed(**fields):
    """BASE with fields (section__member) set, or removed with GONE."""
    doc = copy.deepcopy(BASE)
    for field, value in fields.items():
        section, _, member = field.partition("__")
        place = doc.setdefault(section, {}) if member else doc
        if value is GONE:
            del place[member or section]
        else:
            place[member or section] = value
    return doc


def test_defaults():
    given = config.check(changed())
    expected = {
        "wifi.ssid": None,
        "wifi.password": "",
        "server.host": "tb",
        "server.port": 1883,
        "server.keepalive": 60,
        "tls.enabled": False,
        "tls.verify": True,
        "transport": "mqtt",
        "provision.name": "{board}-{mac}",
        "provision.fleet_secret": None,
        "credentials": "token",
        "period": 60,
        "revoked": "provision",
        "watchdog": 0,
    }
    assert {name: given[name] for name in expected} == expected
    assert given["retry.first"] <= given["retry.most"]


@pytest.mark.parametrize(
    ("transport", "tls", "port"),
    [
        ("mqtt", False, 1883),
        ("mqtt", True, 8883),
        ("http", False, 80),
        ("http", True, 443),
        ("coap", False, 5683),
    ],
)
def test_the_port_follows_the_transport(transport, tls, port):
    assert config.check(changed(transport=transport, tls__enabled=tls))["server.port"] == port
    assert config.check(changed(transport=transport, tls__enabled=tls, server__port=7))["server.port"] == 7


def test_the_example_is_good():
    assert config.load(str(EXAMPLE))["server.host"] == "thingsboard.example.org"


GOOD = [
    {"wifi__ssid": "x" * 32},
    {"wifi__ssid": "网" * 10},  # 30 bytes
    {"wifi__password": "x" * 64},
    {"server__port": 1},
    {"server__port": 65535},
    {"server__keepalive": 0},
    {"period": 0},
    {"period": 0.5},
    {"provision__name": "板" * 255},  # characters count there, not bytes
    {"provision__name": "{board}/{uid}/{mac}"},
    {"credentials": "derived", "provision__fleet_secret": "x" * 16},
    {"credentials": "basic"},
    {"credentials": "x509", "tls__enabled": True},
    {"credentials": "x509", "tls__enabled": True, "transport": "coap"},
    {"transport": "coap", "tls__enabled": True},
    {"credentials": "chain", "tls__enabled": True, "x509__cert": "leaf.der", "x509__key": "leaf.key"},
    {"credentials": "chain", "tls__enabled": True, "provision__key": GONE, "provision__secret": GONE},
    {"revoked": "wait"},
    {"server__port": None},  # null is "not given"
]


@pytest.mark.parametrize("fields", GOOD, ids=lambda fields: ",".join(fields) or "defaults")
def test_good(fields):
    config.check(changed(**fields))


BAD = [
    ("server.host", {"server__host": GONE}),
    ("server.host", {"server__host": None}),
    ("server.host", {"server__host": ""}),
    ("server.host", {"server__host": 7}),
    ("server.host", {"server__host": ["tb"]}),
    ("server.host", {"server__host": "x" * 254}),
    ("server.port", {"server__port": 0}),
    ("server.port", {"server__port": 65536}),
    ("server.port", {"server__port": -1}),
    ("server.port", {"server__port": "1883"}),
    ("server.port", {"server__port": 1883.5}),
    ("server.port", {"server__port": True}),
    ("server.timeout", {"server__timeout": 0}),
    ("server.timeout", {"server__timeout": "10"}),
    ("server.keepalive", {"server__keepalive": 65536}),
    ("server.keepalive", {"server__keepalive": -1}),
    ("server.frame", {"server__frame": 127}),
    ("server.host", {"server": "tb"}),
    ("server.hsot", {"server__hsot": "tb"}),
    ("wifi.ssid", {"wifi__ssid": ""}),
    ("wifi.ssid", {"wifi__ssid": "x" * 33}),
    ("wifi.ssid", {"wifi__ssid": "网" * 11}),  # 33 bytes
    ("wifi.password", {"wifi__password": "x" * 65}),
    ("wifi.password", {"wifi__password": 12345678}),
    ("wifi.timeout", {"wifi__timeout": 0.5}),
    ("wifi", {"wifi": ["net", "password"]}),
    ("wifi.pasword", {"wifi__pasword": "x"}),
    ("tls.enabled", {"tls__enabled": "yes"}),
    ("tls.enabled", {"tls__enabled": 1}),
    ("tls.verify", {"tls__verify": 0}),
    ("transport", {"transport": "amqp"}),
    ("transport", {"transport": "mqtt http"}),
    ("transport", {"transport": ""}),
    ("transport", {"transport": ["mqtt"]}),
    ("provision.key", {"provision__key": GONE}),
    ("provision.key", {"provision__key": ""}),
    ("provision.secret", {"provision__secret": GONE}),
    ("provision.secret", {"provision__secret": "x" * 256}),
    ("provision.name", {"provision__name": ""}),
    ("provision.name", {"provision__name": "x" * 256}),
    ("provision.name", {"provision__name": "{serial}"}),
    ("provision.name", {"provision__name": "{mac"}),
    ("provision.fleet_secret", {"provision__fleet_secret": "x" * 15}),
    ("provision.fleet_secret", {"credentials": "derived"}),
    ("credentials", {"credentials": "tokens"}),
    ("provision.secret", {"credentials": "x509", "tls__enabled": True, "provision__secret": GONE}),
    ("credentials", {"credentials": "x509"}),
    ("credentials", {"credentials": "chain"}),
    ("credentials", {"credentials": "x509", "transport": "http", "tls__enabled": True}),
    ("credentials", {"credentials": "chain", "transport": "coap", "tls__enabled": True}),
    ("x509.cert", {"x509__cert": ""}),
    ("x509.key", {"x509__key": "k" * 65}),
    ("credentials", {"credentials": "basic", "transport": "http"}),
    ("credentials", {"credentials": "basic", "transport": "coap"}),
    ("period", {"period": -1}),
    ("period", {"period": "60"}),
    ("period", {"period": True}),
    ("period", {"period": float("nan")}),
    ("period", {"period": float("inf")}),
    ("period", {"period": 86401}),
    ("retry.first", {"retry__first": 0}),
    ("retry.first", {"retry__first": 10, "retry__most": 9}),
    ("retry.most", {"retry__most": 86401}),
    ("retry.refused", {"retry__refused": 0}),
    ("revoked", {"revoked": "ignore"}),
    ("watchdog", {"watchdog": 301}),
    ("perod", {"perod": 60}),
    ("wi-fi.ssid", {"wi-fi__ssid": "net"}),
]


@pytest.mark.parametrize(("field", "fields"), BAD, ids=[f"{field}-{i}" for i, (field, _) in enumerate(BAD)])
def test_bad(field, fields):
    with pytest.raises(ValueError) as e:
        config.check(changed(**fields))
    assert e.value.args[0] == field
    assert e.value.args[1]


@pytest.mark.parametrize("doc", [[], "text", 7, None, True])
def test_not_an_object(doc):
    with pytest.raises(ValueError) as e:
        config.check(doc)
    assert e.value.args[0] == "config"


def test_a_missing_file_is_named():
    with pytest.raises(ValueError) as e:
        config.load("config.json")
    assert e.value.args[0] == "config.json"
    assert "missing" in e.value.args[1]


BROKEN = [
    b"",
    b"{",
    b"{'a': 1}",
    b"\xff\xfe",
    b'{"a": 1,}',
    b"# comment\n{}",
    b'{"server": {"host": "tb"}',
    b"[" * 9999,
]


@pytest.mark.parametrize("data", BROKEN, ids=[str(data[:12]) for data in BROKEN])
def test_broken_json_names_the_file(data):
    Path("config.json").write_bytes(data)
    with pytest.raises(ValueError) as e:
        config.load("config.json")
    assert e.value.args[0] == "config.json"


def test_load_reads_utf8():
    Path("config.json").write_text(json.dumps(changed(wifi__ssid="Café"), ensure_ascii=False), "utf-8")
    assert config.load("config.json")["wifi.ssid"] == "Café"


def test_a_secret_is_never_in_the_error():
    with pytest.raises(ValueError) as e:
        config.check(changed(wifi__password="hunter2" * 10))
    assert "hunter2" not in str(e.value)
