"""What is measured, and how. Each function returns figures by their key."""

from __future__ import annotations

import contextlib
import json
import os
import re
from collections.abc import Iterator
from statistics import median

from .. import measure
from ..build import compile_file, firmware
from ..shorten import SLICES
from ..stage import KEY, SECRET, Stage
from ..vboard import Image, Run
from ..vm import Vm, VmError
from ..vm.frozen import frozen, tls_in_heap
from . import vm
from .broker import Broker, HttpBroker

Figures = dict[str, float]
_ROUNDS = 5
_KIB = 1024
_TOKEN = "bench-token-0123456789"  # noqa: S105 - of a device on loopback


@contextlib.contextmanager
def one_core() -> Iterator[None]:
    """Both ends of a connection on one core.

    Where each has one that sleeps in between, waking it takes longer than all that they do: on one machine of two cores
    a bare socket's round trip over HTTP took 8 us on one of them, and 8 or 66 on both, as it came.
    """
    cores = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(cores)})
    try:
        yield
    finally:
        os.sched_setaffinity(0, cores)


def heap(stage: Stage, suffix: str = "") -> Figures:
    """The smallest heaps of a first and a second boot, and what the loop holds."""
    found = measure.heap(stage, second=not suffix)
    figures: Figures = {
        f"first_boot_min_heap{suffix}_kib": round(found.first_boot / _KIB, 2),
        f"steady_heap{suffix}_bytes": found.steady,
    }
    if found.second_boot:
        figures["second_boot_min_heap_kib"] = round(found.second_boot / _KIB, 2)
    return figures


def heap_frozen() -> Figures:
    """The same with firstboot frozen in; nothing where no such VM can be built here."""
    try:
        with Stage(frozen=True) as stage:
            return heap(stage, "_frozen")
    except VmError:
        return {}


def heap_tls() -> Figures:
    """Over verified TLS, with mbedtls in MicroPython's heap as on the RP2; nothing where that VM can't be built."""
    figures: Figures = {}
    try:
        for suffix, is_frozen in (("_tls", False), ("_tls_frozen", True)):
            with Stage("mqtt", True, frozen=is_frozen, vm=tls_in_heap(firstboot=is_frozen)) as stage:
                figures |= heap(stage, suffix)
    except VmError:
        return {}
    return figures


def heap_script() -> Figures:
    """The bare umqtt script beside it, measured in the same way."""
    with ScriptStage() as stage:
        found = measure.heap(stage, second=False)
    return {
        "script_first_boot_min_heap_kib": round(found.first_boot / _KIB, 2),
        "script_steady_heap_bytes": found.steady,
    }


def sizes() -> Figures:
    """Bytes of .mpy; the core is booted alone, so that nothing that a board needs is left out of the count."""
    core = firmware(strip=True, without=SLICES)
    with Stage(without=SLICES) as stage:
        image = stage.image()
        for _ in range(2):
            measure.steady_heap(stage.board(image).run("telemetry: acknowledged"))
    whole = firmware(strip=True)
    return {
        "mpy_bytes_core": sum(len(data) for path, data in core.items() if "/firstboot/" in path),
        "mpy_bytes_all": sum(len(data) for path, data in whole.items() if "/firstboot/" in path),
    }


def qos1() -> Figures:
    """QoS 1 publishes a second on one connection."""
    with one_core(), Broker() as broker:
        found = vm.run("qos1", broker.port)
    rates = found["rates"]
    return {
        "qos1_per_s": round(median(rates["firstboot"])),
        "qos1_umqtt_per_s": round(median(rates["umqtt"]), 1),
        "qos1_socket_per_s": round(median(rates["socket"])),
        "qos1_vs_umqtt": round(_ratio(rates["firstboot"], rates["umqtt"]), 1),
        "qos1_vs_socket": round(_ratio(rates["firstboot"], rates["socket"]), 2),
        "publish_alloc_bytes": found["alloc"]["firstboot"],
        "publish_alloc_umqtt_bytes": found["alloc"]["umqtt"],
    }


def allocation() -> Figures:
    """Heap that one sample takes, from one read() to the next."""
    app = (vm.SCRIPTS / "allocation_app.py").read_bytes()
    with Stage(files={"/app.py": app}, config={"period": 0.01}) as stage:
        run = stage.board(stage.image(), heap=1 << 20).run("sample allocates", 60)
    return {"sample_alloc_bytes": float(_found(run, r"sample allocates (\d+) bytes"))}


def growth() -> Figures:
    """Heap in use after 100,000 samples less that after 1,000, against a broker that is quick enough for that."""
    app = (vm.SCRIPTS / "growth_app.py").read_bytes()
    with Broker() as broker, Stage(files={"/app.py": app}) as stage:
        image = stage.image()
        stage.board(image).run("telemetry: acknowledged")
        config = {**stage.config, "period": 0, "server": {"host": "127.0.0.1", "port": broker.port}}
        image.put({"/config.json": _json(config)})
        run = stage.board(image).run("after 100000 samples", 300)
    before = int(_found(run, r"after 1000 samples (\d+) bytes"))
    return {"heap_growth_bytes": int(_found(run, r"after 100000 samples (\d+) bytes")) - before}


def first_boot_time() -> Figures:
    """Time of a whole first boot, network and flash included, over that of the bare umqtt script."""
    times: dict[str, list[float]] = {"firstboot": [], "script": []}
    with Stage() as ours, ScriptStage() as script:
        for _ in range(_ROUNDS + 2):
            for name, stage in (("firstboot", ours), ("script", script)):
                run = stage.board(stage.image()).run("telemetry: acknowledged")
                times[name].append(next(at for at, line in run.lines if "acknowledged" in line))
    return {
        "first_boot_s": round(median(times["firstboot"]), 3),
        "script_first_boot_s": round(median(times["script"]), 3),
        "first_boot_vs_script": round(_ratio(times["firstboot"], times["script"]), 2),
    }


def http() -> Figures:
    """Telemetry over HTTP on a kept connection, against one requests.post() each."""
    with one_core(), HttpBroker() as broker:
        return _rates("http", "requests", broker.port)


def coap() -> Figures:
    """Telemetry over CoAP, against a module with microCoAPy's face bare."""
    with one_core(), Stage("coap") as stage:
        stage.standin.add_device("bench", stage.standin.registry.profiles()[0], _TOKEN)
        return _rates("coap", "microcoapy", stage.standin.coap_port)


def ota() -> Figures:
    """Heap that an update of 1 MiB over MQTT, from look to reset, needs beside what the idle loop holds."""
    with Stage(config={"ota": {"check": 0.1}}) as stage:
        package = stage.standin.add_package("fw", "bench", "1", b"\xe9" * (1 << 20))
        stage.standin.assign(package, profile="boards")
        return {"ota_peak_heap_bytes": measure.smallest(lambda free: updates(stage, free), 1024, 16 * _KIB)}


def updates(stage: Stage, free: int) -> bool:
    """Whether a board of this stage takes the package that is assigned to it, with so many bytes free in its loop."""
    app = (vm.SCRIPTS / "ota_app.py").read_bytes()
    image = stage.image()
    image.put({"/app.py": b"FREE = %d\n" % free + app})
    run = stage.board(image, ota=True).run("is installed|memory|failed|lost", 60)
    return run.has("is installed")


def x509() -> Figures:
    """A key, its certificate and a signature."""
    return {"x509_ms": round(median(vm.run("x509")["ms"]), 1)}


def fleet(boards: int = 64) -> Figures:
    """First boots a second of real firmware on this machine, .mpy and frozen in, and of a paho-mqtt process each."""
    from .fleet import firmware_boots, paho_boots

    vms: dict[str, Vm | None] = {"": None}
    with contextlib.suppress(VmError):
        vms["_frozen"] = frozen()
    ours: dict[str, list[float]] = {kind: [] for kind in vms}
    paho = []
    for _ in range(_ROUNDS):
        for kind, chosen in vms.items():
            ours[kind].append(firmware_boots(boards, chosen))
        paho.append(paho_boots(boards // 4))
    figures: Figures = {"fleet_paho_per_s": round(median(paho), 1)}
    for kind, rates in ours.items():
        figures[f"fleet{kind}_boots_per_s"] = round(median(rates), 1)
        figures[f"fleet{kind}_vs_paho"] = round(_ratio(rates, paho), 1)
    return figures


def _rates(name: str, other: str, port: int) -> Figures:
    rates = vm.run(name, port, _TOKEN)["rates"]
    return {
        f"{name}_per_s": round(median(rates["firstboot"])),
        f"{name}_{other}_per_s": round(median(rates[other])),
        f"{name}_vs_{other}": round(_ratio(rates["firstboot"], rates[other]), 2),
    }


def _ratio(ours: list[float], others: list[float]) -> float:
    # Of neighbours in time, so that what else the machine does falls on both.
    return median(a / b for a, b in zip(ours, others, strict=True))


class ScriptStage(Stage):
    """Boards with scripts/script.py in place of firstboot."""

    def __init__(self) -> None:
        super().__init__()
        self.names = 60

    def image(self, *, strip: bool = True) -> Image:
        """A new board's flash, with the script, umqtt.simple and the script's settings."""
        image = super().image(strip=strip)
        settings = {
            "ssid": "lab",
            "password": "lab-password",
            "host": "127.0.0.1",
            "port": self.standin.mqtt_port,
            "name": image.path.stem,
            "key": KEY,
            "secret": SECRET,
        }
        script = compile_file(vm.SCRIPTS / "script.py", strip=strip)
        umqtt = {path: data for path, data in firmware(strip=strip).items() if "umqtt" in path}
        image.format()
        image.put(
            {"/main.py": b"import script\n", "/lib/script.mpy": script, "/settings.json": _json(settings), **umqtt}
        )
        return image


def _json(document: object) -> bytes:
    return json.dumps(document).encode()


def _found(run: Run, pattern: str) -> str:
    found = re.search(pattern, run.log)
    if not found:
        raise RuntimeError(f"the board did not get there ({run.ended}):\n{run.log[-2000:]}")
    return found[1]
