"""`firstboot standin`, or `python -m tools.standin`: run the stand-in until Ctrl-C."""

from __future__ import annotations

import contextlib
import ipaddress
import signal
import sqlite3
import sys
import threading
from pathlib import Path
from typing import Any

import typer

from ..console import JsonLines, fail
from .limits import Limits
from .provisioning import ALLOW_CREATE, STRATEGIES
from .registry import RegistryError
from .release import RELEASES
from .rest import PASSWORD, USER
from .server import HOST, Standin, as_document, event_line

app = typer.Typer()


def _port(usual: int, text: str = "") -> Any:
    return typer.Option(usual, min=0, max=65535, help=text)


@app.command()
def main(
    host: str = typer.Option(HOST, help="Loopback address to listen on."),
    mqtt_port: int = _port(1883),
    http_port: int = _port(8080, "Device API and REST."),
    coap_port: int = _port(5683),
    tls: bool = typer.Option(False, "--tls", help="Open MQTT and HTTP ports with TLS too, and a CoAP one with DTLS."),
    mqtts_port: int = _port(8883, "MQTT with TLS; a client certificate is wanted, not required."),
    https_port: int = _port(8443, "Device API and REST with TLS."),
    coaps_port: int = _port(5684, "CoAP with DTLS."),
    ca_file: str = typer.Option("", help="PEM file of the CA, with .der and .key beside it: made, or used again."),
    release: str = typer.Option("4.4", help=f"ThingsBoard release to mirror: {', '.join(RELEASES)}."),
    database: str = typer.Option(":memory:", "--db", help="File that keeps devices and telemetry."),
    profile: str = typer.Option("boards", help="Name of the device profile to make."),
    strategy: str = typer.Option(ALLOW_CREATE, help=f"Its provisioning strategy: {', '.join(STRATEGIES)}."),
    key: str = typer.Option("profile-key", help="Its provision device key."),
    secret: str = typer.Option("profile-secret", help="Its provision device secret."),
    messages: str = typer.Option("", help="A device's limit of messages without data points, such as 20:1,600:60."),
    telemetry: str = typer.Option("", help="Its limit of telemetry messages."),
    points: str = typer.Option("", help="Its limit of data points."),
    as_json: JsonLines = False,
) -> None:
    """A server that behaves like ThingsBoard's device transports, for development and tests on this machine.

    It shows what devices do, an event a line.

    firstboot standin
    firstboot standin --tls --ca-file ca.pem --strategy CHECK_PRE_PROVISIONED_DEVICES
    firstboot standin --db standin.sqlite --json
    """
    if release not in RELEASES:
        raise typer.BadParameter(f"one of {', '.join(RELEASES)}", param_hint="--release")
    if strategy not in STRATEGIES:
        raise typer.BadParameter(f"one of {', '.join(STRATEGIES)}", param_hint="--strategy")
    if not _is_loopback(host):
        raise typer.BadParameter("the stand-in serves this machine only: a loopback address", param_hint="--host")
    try:
        limits = Limits(messages or None, telemetry or None, points or None)
    except ValueError as e:
        raise typer.BadParameter(str(e), param_hint="--messages, --telemetry, --points") from e
    show = as_document if as_json else event_line
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # ends it as Ctrl-C does
    signal.signal(signal.SIGINT, signal.default_int_handler)  # in a shell's background too
    try:
        standin = Standin(
            release=release,
            host=host,
            mqtt_port=mqtt_port,
            http_port=http_port,
            coap_port=coap_port,
            mqtts_port=mqtts_port,
            https_port=https_port,
            coaps_port=coaps_port,
            tls=tls or bool(ca_file),
            ca_file=Path(ca_file) if ca_file else None,
            database=database,
            limits=limits,
            on_event=lambda event: print(show(event), flush=True),
        )
        with standin:
            _banner(standin, release, profile, strategy, key, secret)
            threading.Event().wait()
    except KeyboardInterrupt:
        print("stopped", file=sys.stderr)
    except OSError as e:
        if e.filename:
            fail(f"{e.filename}: {e.strerror}")
        fail(str(e.strerror or e), "choose another port with --mqtt-port, --http-port, --coap-port and so on")
    except sqlite3.Error as e:
        fail(f"--db {database} can't be used: {e}", "name a file that is new, or one of an earlier run")
    except ValueError as e:
        fail(f"--ca-file {ca_file}: {e}", "name a new file, or one of an earlier run")


def _banner(standin: Standin, release: str, profile: str, strategy: str, key: str, secret: str) -> None:
    with contextlib.suppress(RegistryError):  # a --db file of an earlier run has the profile already
        standin.add_profile(profile, strategy, key, secret)
    for line in (
        f"stand-in for ThingsBoard {release}: MQTT {standin.host}:{standin.mqtt_port}, "
        f"HTTP and REST {standin.host}:{standin.http_port}, CoAP {standin.host}:{standin.coap_port}",
        *_tls_lines(standin),
        f"profile {profile}: {strategy}, key {key}, secret {secret}",
        f"REST user {USER}, password {PASSWORD}. Ctrl-C ends it.",
    ):
        print(line, file=sys.stderr, flush=True)


def _is_loopback(host: str) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _tls_lines(standin: Standin) -> list[str]:
    if standin.authority is None:
        return []
    ports = f"MQTT {standin.host}:{standin.mqtts_port}, HTTP and REST {standin.host}:{standin.https_port}"
    ports += f", CoAP {standin.host}:{standin.coaps_port}"
    return [f"with TLS: {ports}; CA in {standin.ca_pem} and {standin.ca_der}"]


if __name__ == "__main__":
    from ..cli import app as program

    program(["standin", *sys.argv[1:]], prog_name="python -m tools.cli")
