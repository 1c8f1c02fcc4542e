"""The fields of config.json: the firmware's own table, with what each is for in words."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ..board_code import board_code

rules = board_code("config")

# What stands in the reference, the help and the prompts. A test compares the names with the firmware's table.
HELP = {
    "wifi.ssid": "Name of the Wi-Fi network; absent: the network is none of firstboot's business (Ethernet).",
    "wifi.password": "Its password; empty for an open network.",
    "wifi.timeout": "Seconds to join within; then the back-off, and again.",
    "server.host": "Host name or address of ThingsBoard: neither https:// nor a path.",
    "server.port": "Port of the transport; by default 1883 (mqtt), 80 (http), 5683 (coap), with TLS 8883, 443, 5684.",
    "server.timeout": "Seconds that any single wait for the server may take.",
    "server.keepalive": "Seconds between two signs of life on an idle MQTT connection; 0: none.",
    "server.frame": "Largest MQTT packet or HTTP answer in bytes that the board accepts.",
    "tls.enabled": "Whether to speak TLS.",
    "tls.ca": "File on the board with the CA's certificate in DER.",
    "tls.verify": "Whether the server's certificate and host name are checked. False is for a lab bench.",
    "ntp.host": "Time server; asked when the clock was never set, for TLS and for samples that waited.",
    "ntp.port": "Its port.",
    "transport": "How the board talks to ThingsBoard.",
    "coap.confirmable": "Whether telemetry over CoAP is repeated until the server has acknowledged it.",
    "provision.key": "Provision device key of the device profile.",
    "provision.secret": "Provision device secret of the device profile.",
    "provision.name": "Name of the device: {board} is the chip, {mac} the radio's address, {uid} the chip's own id.",
    "provision.fleet_secret": "What derived tokens are made from; the same on every board of the fleet.",
    "credentials": "Kind of credentials, and who makes them: see Credential modes.",
    "x509.cert": "File on the board with its certificate; mode chain only.",
    "x509.key": "File on the board with its private key; mode chain only.",
    "period": "Seconds between two samples.",
    "outbox.bytes": "Bytes of flash for samples that can't be sent, oldest dropped first; 0: 2 KiB of memory.",
    "outbox.writes_per_hour": "Writes to flash in an hour without a server; more when samples fill a KiB faster.",
    "retry.first": "Seconds of the first wait after a failure; each further one is twice as long, with jitter.",
    "retry.most": "Seconds of the longest such wait.",
    "retry.refused": "Seconds between two tries when the server says that provision key or secret are wrong.",
    "revoked": "What to do when the server no longer knows the credentials: provision anew, or wait for it.",
    "watchdog": "Seconds after which a board that hangs is reset; 0: never. At most 8 on RP2.",
    "ota.check": "Seconds between two looks for an update in ThingsBoard; 0: never. See Updates over the air.",
}

# What a board never logs (boot.py hides them), and no tool prints.
SECRETS = ("wifi.password", "provision.key", "provision.secret", "provision.fleet_secret")


@dataclass(frozen=True)
class Field:
    """One field, as firmware/firstboot/config.py describes it; `default` is ... where it must be given."""

    name: str
    kind: str
    least: float
    most: float
    default: Any
    help: str

    @property
    def choices(self) -> list[str]:
        """The words it may be; empty for any other kind."""
        return self.kind.split("|") if "|" in self.kind else []

    @property
    def values(self) -> str:
        """What it may be, in words."""
        if self.choices:
            return ", ".join(self.choices)
        if self.kind == "bool":
            return "true, false"
        unit = {"s": "bytes of text", "c": "characters", "i": "whole number", "n": "number"}[self.kind]
        span = f"{_number(self.least)} to {_number(self.most)}"
        return f"{unit}, {span}" if self.kind in "in" else f"{span} {unit}"

    @property
    def usual(self) -> str:
        """Its default, as the file has it; empty where there is none."""
        if isinstance(self.default, bool):
            return str(self.default).lower()
        return {None: "", ...: "must be given"}.get(self.default, str(self.default))

    @property
    def is_secret(self) -> bool:
        """Whether its value must not be shown."""
        return self.name in SECRETS


FIELDS: dict[str, Field] = {
    name: Field(name, kind, least, most, default, HELP.get(name, ""))
    for name, kind, least, most, default in rules.fields()
}


def reference() -> str:
    """The README's table of all fields, in Markdown."""
    lines = ["| Field | Default | Values | |", "|---|---|---|---|"]
    for field in FIELDS.values():
        default = {None: "", ...: field.usual, "": "empty"}.get(field.default, f"`{field.usual}`")
        lines.append(f"| `{field.name}` | {default} | {field.values} | {field.help} |")
    return "\n".join(lines) + "\n"


def _number(value: float) -> str:
    return str(int(value)) if value == int(value) else f"{value:g}"
