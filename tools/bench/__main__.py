"""`make bench`: measure firstboot and what stands beside it, in one run; build/bench.json and a table."""

from __future__ import annotations

import json
import os
import platform
import time
from collections.abc import Callable
from pathlib import Path

import typer
from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Table

from ..stage import Stage
from ..vm import find
from . import figures

OUTPUT = Path("build") / "bench.json"

# key: (what it is measured on and how, target as (comparison, value), or None)
KEYS: dict[str, tuple[str, tuple[str, float] | None]] = {
    "first_boot_min_heap_kib": ("smallest heap of a first boot over MQTT, mode token, .mpy", ("<=", 14)),
    "script_first_boot_min_heap_kib": ("the bare umqtt script, measured beside it", None),
    "second_boot_min_heap_kib": ("the same with credentials on flash", ("<=", 11)),
    "steady_heap_bytes": ("heap in use in the telemetry loop after a collection", ("<=", 8000)),
    "script_steady_heap_bytes": ("the bare umqtt script", None),
    "first_boot_min_heap_frozen_kib": ("smallest heap of a first boot, firstboot frozen in", ("<=", 8)),
    "steady_heap_frozen_bytes": ("heap in use in the loop, firstboot frozen in", ("<=", 3500)),
    "first_boot_min_heap_tls_kib": ("smallest heap of a first boot over TLS, mbedtls in the heap as on RP2", None),
    "steady_heap_tls_bytes": ("heap in use in the loop then", None),
    "first_boot_min_heap_tls_frozen_kib": ("smallest heap over TLS, firstboot frozen in", None),
    "steady_heap_tls_frozen_bytes": ("heap in use in the loop then", None),
    "mpy_bytes_core": (".mpy bytes that a token-over-MQTT board needs, umqtt.simple aside", ("<=", 11000)),
    "mpy_bytes_all": (".mpy bytes of everything", None),
    "qos1_per_s": ("QoS 1 publishes a second on one connection, loopback", None),
    "qos1_umqtt_per_s": ("umqtt.simple", None),
    "qos1_socket_per_s": ("a bare socket: one write, one read", None),
    "qos1_vs_umqtt": ("firstboot over umqtt.simple", (">=", 100)),
    "qos1_vs_socket": ("firstboot over the bare socket", (">=", 0.6)),
    "publish_alloc_bytes": ("heap taken by one QoS 1 publish of a ready payload", ("<=", 0)),
    "publish_alloc_umqtt_bytes": ("umqtt.simple", None),
    "sample_alloc_bytes": ("heap taken from one read() to the next, PUBACK between", ("<=", 400)),
    "heap_growth_bytes": ("heap in use after 100,000 samples less after 1,000", ("<=", 0)),
    "first_boot_s": ("a whole first boot, network and flash included", None),
    "script_first_boot_s": ("the bare umqtt script", None),
    "first_boot_vs_script": ("firstboot over the script", ("<=", 1.5)),
    "http_per_s": ("telemetry over HTTP on a kept connection", None),
    "http_requests_per_s": ("one requests.post() each", None),
    "http_vs_requests": ("firstboot over requests", (">=", 3)),
    "coap_per_s": ("telemetry over CoAP", None),
    "coap_microcoapy_per_s": ("microCoAPy's face bare", None),
    "coap_vs_microcoapy": ("firstboot over it", (">=", 0.8)),
    "x509_ms": ("a key, its certificate and a signature", ("<=", 15)),
    "ota_peak_heap_bytes": ("heap for an update of 1 MiB beside what the idle loop holds", ("<=", 6000)),
    "fleet_boots_per_s": ("first boots of real firmware, a VM process each (Pico W)", None),
    "fleet_frozen_boots_per_s": ("the same with firstboot frozen in", None),
    "fleet_paho_per_s": ("one paho-mqtt process a device", None),
    "fleet_vs_paho": ("firmware over paho", (">=", 10)),
    "fleet_frozen_vs_paho": ("the same with firstboot frozen in", (">=", 10)),
}


def _heap() -> figures.Figures:
    with Stage() as stage:
        return figures.heap(stage)


SECTIONS: dict[str, Callable[[], figures.Figures]] = {
    "heap": _heap,
    "script": figures.heap_script,
    "frozen": figures.heap_frozen,
    "tls": figures.heap_tls,
    "sizes": figures.sizes,
    "qos1": figures.qos1,
    "allocation": figures.allocation,
    "growth": figures.growth,
    "time": figures.first_boot_time,
    "http": figures.http,
    "coap": figures.coap,
    "x509": figures.x509,
    "ota": figures.ota,
    "fleet": figures.fleet,
}


def main(
    only: list[str] = typer.Option([], help=f"Measure this section only; may be repeated: {', '.join(SECTIONS)}."),
    as_json: bool = typer.Option(False, "--json", help="Print the figures as JSON."),
    output: Path = typer.Option(OUTPUT, help="Where the figures go."),
) -> None:
    """Measure, write the figures down and show them."""
    unknown = set(only) - set(SECTIONS)
    if unknown:
        raise typer.BadParameter(f"no such section: {', '.join(sorted(unknown))}", param_hint="--only")
    found = _measure(only or list(SECTIONS))
    document = {
        "measured": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "machine": f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}",
        "vm": find().version,
        **found,
    }
    output.parent.mkdir(parents=True, exist_ok=True)
    output.write_text(json.dumps(document, indent=1) + "\n")
    if as_json:
        print(json.dumps(document))
    else:
        Console().print(_table(found))


def _measure(names: list[str]) -> figures.Figures:
    found: figures.Figures = {}
    columns = (SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task("", total=len(names))
        for name in names:
            progress.update(task, description=f"measuring {name}")
            found.update(SECTIONS[name]())
            progress.advance(task)
    return found


def _table(found: figures.Figures) -> Table:
    table = Table(title="firstboot on the 32-bit VM; heap without what the virtual board itself holds")
    table.add_column("figure")
    table.add_column("", justify="right")
    table.add_column("target", justify="right")
    table.add_column("what")
    for key, (what, target) in KEYS.items():
        if key in found:
            table.add_row(key, f"{found[key]:,}", _target(found[key], target), what)
    return table


def _target(value: float, target: tuple[str, float] | None) -> str:
    if target is None:
        return ""
    comparison, bound = target
    met = value <= bound if comparison == "<=" else value >= bound
    return f"[{'green' if met else 'yellow'}]{comparison} {bound:,}[/]"


if __name__ == "__main__":
    typer.run(main)
