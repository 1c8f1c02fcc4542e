"""The power goes at flash operation k, for every k: what is left must boot into the right state.

A scenario is a board at some moment (flash, NVS, what the server knows). The simulator puts board and server back to
that moment, lets the board run until the power goes, powers it up again, and looks at what it comes to.
"""

import contextlib
import itertools
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from firstboot.store import VERIFIED, Store

from tools.stage import Stage
from tools.standin.provisioning import ALLOW_CREATE, PRE_PROVISIONED
from tools.vboard import Image, PowerCut, VirtualBoard, WifiPlan

from ..network.cases import is_same

NAIVE = Path(__file__).parent / "naive"
TORN = ("before", "half", "after")
DONE = "telemetry: acknowledged|outbox: empty"
CONFLICT = "the server has .* with credentials that this board does not hold"
QUICK = {
    "period": 0.02,
    "retry": {"first": 0.01, "most": 0.05, "refused": 0.1},
    "server": {"host": "127.0.0.1", "timeout": 5},
}
PATIENCE = 60  # seconds until a boot counts as stuck: a busy machine's share is most of it
WORKERS = 2


@dataclass(frozen=True)
class Scenario:
    """Where the cuts happen. `before`: "empty" flash, "verified" (and the server forgot the device), "no config"."""

    name: str
    kind: str = "ESP32_GENERIC"
    credentials: str = "token"
    strategy: str = ALLOW_CREATE
    release: str = "4.4"
    before: str = "empty"
    transport: str = "mqtt"
    tls: bool = False
    files: dict = field(default_factory=dict, hash=False, compare=False)
    config: dict = field(default_factory=dict, hash=False, compare=False)

    @property
    def may_need_operator(self):
        """Whether the protocol leaves a way into the dead end that README documents: an answer that only the server
        knows, lost."""
        return self.credentials == "server" or (self.strategy == PRE_PROVISIONED and self.release == "4.4")


@dataclass
class Case:
    """One cut and what became of the board."""

    cut: tuple
    ended: str  # "right", "operator" (right after the operator's reset, as documented) or what is wrong
    log: str = ""


class Bench:
    """A stand-in and one board that can be put back to the scenario's moment."""

    def __init__(self, scenario):
        self.scenario = scenario
        self.numbers = itertools.count(1)
        self.stage = Stage(
            scenario.transport,
            scenario.tls,
            scenario.credentials,
            strategy=scenario.strategy,
            config={**QUICK, **scenario.config},
            files=scenario.files,
            release=scenario.release,
        )

    def __enter__(self):
        self.stage.__enter__()
        self.image = self.stage.image()
        if self.scenario.before == "verified":
            self.restock()
            run = self.board().run(DONE, PATIENCE)
            assert run.ended == "found", run.log
        if self.scenario.before == "no config":
            self.image.put({"/next.json": self.image.get("/config.json"), "/boot.py": WRITES_CONFIG})
            self.image.put({"/config.json": b'{"server": {"host": "127.0.0.1"}}'})
        self.flash = self.image.path.read_bytes()
        self.nvs = self.image.nvs.read_bytes() if self.image.nvs.exists() else None
        return self

    def __exit__(self, *_):
        self.stage.__exit__()

    @property
    def standin(self):
        return self.stage.standin

    def board(self, **more):
        return VirtualBoard(self.image, self.scenario.kind, wifi=WifiPlan(join_ms=0), **more)

    @property
    def name(self):
        """The board's name to the server."""
        board = self.board()
        return f"{'ESP32' if self.scenario.kind.startswith('ESP32') else 'RP2040'}-{board.mac}"

    def devices(self):
        """What the server has."""
        return self.standin.devices()

    def restock(self):
        """The server as it was delivered: no devices but the prepared one."""
        for device in self.standin.devices():
            self.standin.delete_device(device.name)
        if self.scenario.strategy == PRE_PROVISIONED:
            [profile] = [p for p in self.standin.registry.profiles() if p.name == "boards"]
            self.standin.add_device(self.name, profile, f"prepared-token-{next(self.numbers)}")

    def rewind(self):
        """Board and server are at the scenario's moment."""
        self.restock()
        self.image.path.write_bytes(self.flash)
        if self.nvs is not None:
            self.image.nvs.write_bytes(self.nvs)
        else:
            self.image.nvs.unlink(missing_ok=True)

    def operations(self):
        """How many flash operations a run of the scenario has until its first acknowledged telemetry."""
        self.rewind()
        run = self.board(trace=True).run(DONE, PATIENCE)
        assert run.ended == "found", run.log
        return len(run.event("flash"))

    def case(self, *cuts):
        """Rewind, power up once for each of the `cuts` (at, torn), then for good; returns the Case."""
        self.rewind()
        log = ""
        for at, torn in cuts:
            run = self.board(cut=PowerCut(at, torn)).run(f"{DONE}|{CONFLICT}", PATIENCE)
            log += f"--- power up, cut at {at} {torn}: {run.ended}\n{run.log}\n"
            if run.ended == "found":  # fewer operations than in the count: the power goes after them
                continue
            if run.ended != "power cut":
                return Case(cuts, f"ended by {run.ended}", log)
        ended, more = self.finish()
        return Case(cuts, ended, log + "--- power up\n" + more)

    def finish(self):
        """Power up for good: ("right" or "operator" or what is wrong, log)."""
        ended = "right"
        with self.board() as board:
            board.wait(lambda run: bool(run.ended) or run.has(DONE) or run.has(CONFLICT), PATIENCE)
            if not board.run_so_far.has(DONE) and board.run_so_far.has(CONFLICT):
                ended = "operator"
                if not self.scenario.may_need_operator:
                    return "locked out", board.run_so_far.log
                self.operate()
                board.wait(lambda run: bool(run.ended) or run.has(DONE), PATIENCE)
        run = board.run_so_far
        if not run.has(DONE):
            return f"not provisioned ({run.ended or 'stuck'})", run.log
        return self.wrong() or ended, run.log

    def operate(self):
        """The operator resets the device, as the board's log asks for."""
        if self.scenario.strategy == PRE_PROVISIONED:
            device = self.standin.device(self.name)
            self.standin.registry.delete_attributes(device.id, "SERVER_SCOPE", ["provisionState"])
        else:
            self.standin.delete_device(self.name)

    def wrong(self):
        """What is wrong with a board that sends telemetry; None when nothing is."""
        devices = self.devices()
        if len(devices) != 1:
            return f"{len(devices)} devices"
        store = Store([Copy(data) for data in identities(self.image)])
        if store.state != VERIFIED:
            return f"state {store.state} on flash"
        if not is_same(devices[0].credentials, store.credentials):
            return "the board's credentials are not the server's"
        if not self.standin.telemetry(devices[0].name):
            return "no telemetry on the server"
        return None


class Copy:
    """A slot to read from, with an esp32.NVS's face."""

    def __init__(self, data):
        self.data = data

    def get_blob(self, key, buffer):
        buffer[: len(self.data)] = self.data
        return len(self.data)


def identities(image: Image):
    """What is in the slots on flash, as firstboot.board.slots() has them."""
    found = []
    for name in ("/identity.0", "/identity.1", "/lib/identity.1"):
        with contextlib.suppress(FileNotFoundError):
            found.append(image.get(name))
    return found + list(image.nvs_blobs("firstboot").values())


# What a host tool does over the REPL, on the board: the new config is written over the old one.
WRITES_CONFIG = b"""\
try:
    with open("next.json", "rb") as f:
        new = f.read()
    with open("config.json", "wb") as f:
        for i in range(0, len(new), 64):
            f.write(new[i : i + 64])
    import os
    os.remove("next.json")
except OSError:
    pass
"""


def simulate(scenario, choose, workers=WORKERS):
    """Every case that `choose(operations)` picks, a list of tuples of cuts; returns (operations, list of Case)."""
    with Bench(scenario) as bench:
        operations = bench.operations()
    chosen = choose(operations)

    def work(share):
        with Bench(scenario) as bench:
            return [bench.case(*cuts) for cuts in share]

    with ThreadPoolExecutor(workers) as pool:
        shares = [chosen[i::workers] for i in range(workers)]
        return operations, [case for cases in pool.map(work, [s for s in shares if s]) for case in cases]


def every_cut(operations):
    """Each operation, with each way to tear it."""
    return [((at, torn),) for at in range(1, operations + 1) for torn in TORN]
