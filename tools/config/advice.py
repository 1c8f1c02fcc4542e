"""What a board would do with a config, in words, and what its owner may come to regret."""

from __future__ import annotations

import ipaddress
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .. import boards
from ..places import FIRMWARE
from .document import named_files

_MISSING = {
    "tls.ca": "the board needs it",
    "x509.cert": "lay it there for one board, or have each board ask for its own: firstboot.x509.request()",
}
EXAMPLE_CHIP, EXAMPLE_MAC, EXAMPLE_UID = "ESP32", "a0b1c2d3e4f5", "a0b1c2d3e4f5"


@dataclass(frozen=True)
class Advice:
    """A choice with a price: the field, the price, and what to do instead."""

    field: str
    message: str
    hint: str = ""


def example_name(config: dict[str, Any]) -> str:
    """What a board would call itself."""
    name: str = config["provision.name"]
    return name.replace("{board}", EXAMPLE_CHIP).replace("{mac}", EXAMPLE_MAC).replace("{uid}", EXAMPLE_UID)


def plan(config: dict[str, Any]) -> list[str]:
    """What a board would do with the flat `config`, step by step. No secret is in it."""
    return [
        _network(config),
        _server(config),
        _name(config),
        _credentials(config),
        f"sends what app.read() returns every {_time(config['period'])}",
        "keeps what can't be sent "
        + (_size(config["outbox.bytes"]) if config["outbox.bytes"] else "in 2 KiB of memory"),
        f"after a failure waits {_time(config['retry.first'])}, then twice as long each time, up to "
        f"{_time(config['retry.most'])}; when key or secret are refused, {_time(config['retry.refused'])}",
        "when the server no longer knows its credentials: "
        + ("provisions anew" if config["revoked"] == "provision" else "waits until it does"),
        f"is reset when it hangs for {_time(config['watchdog'])}" if config["watchdog"] else "runs without a watchdog",
        *([f"looks for an update every {_time(config['ota.check'])}"] if config["ota.check"] else []),
    ]


def _network(config: dict[str, Any]) -> str:
    if config["wifi.ssid"] is None:
        return "leaves the network to the board: no Wi-Fi is configured"
    kind = "with a password" if config["wifi.password"] else "an open network"
    return f"joins the Wi-Fi {config['wifi.ssid']!r} ({kind}) within {_time(config['wifi.timeout'])}"


def _server(config: dict[str, Any]) -> str:
    how = config["transport"].upper()
    if config["tls.enabled"]:
        how += " over DTLS," if config["transport"] == "coap" else " over TLS,"
        how += f" verified by {config['tls.ca']}," if config["tls.verify"] else " NOT verified,"
    return f"talks {how} to {config['server.host']}:{config['server.port']}"


def _name(config: dict[str, Any]) -> str:
    return f"calls itself {config['provision.name']}: for example {example_name(config)}"


def _credentials(config: dict[str, Any]) -> str:
    what = {
        "token": "makes a random access token, keeps it on flash, and asks the server to create the device with it",
        "server": "asks the server to create the device, and keeps the access token that it answers",
        "basic": "makes a random MQTT user name and password, keeps them on flash, and asks the server to create the "
        "device with them",
        "derived": "derives its access token from the fleet's secret and its name, and asks the server to create the "
        "device with it",
        "x509": "makes a key and a certificate of its own, and asks the server to create the device with it",
        "chain": "shows the certificate that it was given; the server trusts its issuer, and is asked for nothing",
    }
    return what.get(config["credentials"], f"uses credentials of the kind {config['credentials']}")


def advice(config: dict[str, Any], folder: Path | None = None) -> list[Advice]:
    """Choices in the flat `config` that have a price. `folder`: where the files that it names are looked for."""
    found = [
        *_identity_warnings(config),
        *_secrecy_warnings(config),
        *_radio_warnings(config),
        *_server_warnings(config),
    ]
    if folder:
        found += [
            Advice(field, f"there is no {place} beside the config", _MISSING[field])
            for field, place in named_files(config).items()
            if field in _MISSING and not (folder / place).is_file()
        ]
    short = [name for name in boards.names() if boards.load(name).watchdog_ms < config["watchdog"] * 1000]
    if short:
        most = min(boards.load(name).watchdog_ms for name in short)
        found.append(Advice("watchdog", f"is more than {', '.join(short)} can: {most / 1000:g} s there"))
    return found


def _identity_warnings(config: dict[str, Any]) -> list[Advice]:
    found = []
    mode, name = config["credentials"], config["provision.name"]
    if "{mac}" not in name and "{uid}" not in name:
        found.append(
            Advice(
                "provision.name",
                "names every board the same: the first one gets in, all others are refused",
                "put {mac} into it",
            )
        )
    if len(example_name(config)) > 255:
        found.append(Advice("provision.name", "gets longer than the 255 characters that ThingsBoard takes"))
    if mode == "server":
        found.append(
            Advice(
                "credentials",
                "server: a board that loses the server's one answer is locked out until its device is deleted there",
                "token has no such weakness",
            )
        )
    if mode == "derived":
        found.append(
            Advice(
                "credentials",
                "derived: who reads the fleet's secret from one board can speak for every board of the fleet",
                "token keeps a stolen board's secrets to that board",
            )
        )
        if len(set(config["provision.fleet_secret"])) < 10:
            found.append(Advice("provision.fleet_secret", "looks easy to guess", "let `config write` make one"))
    return found


def _secrecy_warnings(config: dict[str, Any]) -> list[Advice]:
    found = []
    if not config["tls.enabled"]:
        found.append(
            Advice(
                "tls.enabled",
                "false: everyone on the way to the server can read credentials and telemetry",
                "set it to true, and give the server's CA in tls.ca",
            )
        )
    elif not config["tls.verify"]:
        found.append(Advice("tls.verify", "false: anyone can pose as the server, and collect provision key and secret"))
    if found and config["ota.check"]:
        found.append(Advice("ota.check", "without verified TLS, anyone on the way can put code onto the boards"))
    return found


def _radio_warnings(config: dict[str, Any]) -> list[Advice]:
    found = []
    if config["wifi.ssid"] is not None and not config["wifi.password"]:
        found.append(Advice("wifi.password", "is empty: this works with an open network only"))
    if 0 < len(config["wifi.password"]) < 8:
        found.append(Advice("wifi.password", "has less than the 8 characters that WPA asks for"))
    return found


def _server_warnings(config: dict[str, Any]) -> list[Advice]:
    found = []
    host = config["server.host"]
    if any(c in host for c in "/ @") or (":" in host and not _address(host)):
        found.append(Advice("server.host", "is not a host name", "leave out https://, port and path"))
    if host == "localhost" or getattr(_address(host), "is_loopback", False):
        found.append(Advice("server.host", "is the board itself", "give this computer's address as the board sees it"))
    if config["period"] < 1:
        found.append(Advice("period", "below a second: a server with rate limits closes the connection"))
    example = json.loads((FIRMWARE / "config.example.json").read_bytes())
    for section, members in example.items():
        for member, value in members.items():
            if config.get(f"{section}.{member}") == value:
                found.append(Advice(f"{section}.{member}", "is still the example's"))
    return found


def _address(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        return None


def _size(size: int) -> str:
    return f"in {size / 1024:g} KiB of flash" if size >= 1024 else f"in {size} bytes of flash"


def _time(seconds: float) -> str:
    if seconds >= 120 and seconds % 60 == 0:
        return f"{seconds // 60:g} min"
    return f"{seconds:g} s"
