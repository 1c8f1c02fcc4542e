"""A first boot on CPython against a stand-in behind a proxy that does what a case says; one bench a process.

The firmware's own link, handshake and store run; the flash is in memory. Time is scaled: server.timeout is TIMEOUT
seconds, and the pauses of the back-off are as short.
"""

import asyncio
import contextlib
import importlib.util
import io
import itertools
import os
import sys
import tempfile
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path

from tools.standin import Standin, mqtt
from tools.standin.faults import Fault, TcpProxy, UdpProxy, Way
from tools.standin.provisioning import ALLOW_CREATE, PRE_PROVISIONED

TIMEOUT = 0.25  # seconds, server.timeout
SLACK = 2.5  # seconds that a verb of a link may be late on a busy machine
PAUSE = 0.01
MOST_PAUSES = 40  # of a board that never gets anywhere
FLEET_SECRET = "the fleet's own secret"
CONFLICT = "with credentials that this board does not hold"


@dataclass(frozen=True)
class Setting:
    """Transport, credential mode and server of a case."""

    transport: str = "mqtt"
    tls: bool = False
    mode: str = "token"
    strategy: str = ALLOW_CREATE
    release: str = "4.4"
    naive: str = ""  # "handshake" asks first and stores afterwards, "deadlines" start anew with every byte

    @property
    def may_need_operator(self):
        """Whether the protocol leaves a dead end: an answer that only the server knows, lost."""
        return self.mode == "server" or (self.strategy == PRE_PROVISIONED and self.release == "4.4")

    def __str__(self):
        way = self.transport + (" with TLS" if self.tls else "")
        plan = ", pre-provisioned " + self.release if self.strategy == PRE_PROVISIONED else ""
        return f"{way}, {self.mode}{plan}"


@dataclass(frozen=True)
class Case:
    """What goes wrong.

    `what`: "cut", "reset" or "stall" after `at` bytes of connection `link` (0 is the first) in the direction `way`;
    "trickle", a byte at a time and in sum too slow; "late", each piece after the deadline; for datagrams "drop",
    "double", "reorder" or "corrupt" number `at`, or "silence" from it on for a while; and what the server does at
    the moment of the request: "double" its answer, "restart" before it acts, or "restart after" it did.
    """

    what: str
    link: int = 0
    way: str = "down"
    at: int = 0


@dataclass
class Outcome:
    """How a case ended: "right", "operator" (right after the operator's reset), or what is wrong."""

    case: Case
    ended: str
    seconds: float = 0
    longest: float = 0  # of one verb of the link
    log: str = ""
    sizes: list = field(default_factory=list)


class Stuck(BaseException):
    """The board has paused often enough."""


def fault(case):
    """The proxy's Fault for the connection that the case is about."""
    if case.what in ("cut", "reset"):
        way = Way(cut=case.at)
    elif case.what == "stall":
        way = Way(stall=case.at)
    elif case.what == "trickle":
        way = Way(piece=1, delay=TIMEOUT / 4)
    else:
        assert case.what == "late"
        way = Way(delay=TIMEOUT * 1.3)
    return Fault(**{case.way: way}, reset=case.what == "reset")


class Bench:
    """The stand-in, the proxy and the board; run() is called for one case after the other."""

    def __init__(self, setting):
        self.setting = setting
        self.folder = tempfile.TemporaryDirectory()
        os.chdir(self.folder.name)
        self.standin = Standin(release=setting.release, scale=0.02, **({"tls": True} if setting.tls else {})).start()
        self.profile = self.standin.add_profile(strategy=setting.strategy)
        self.at_request = "answer"
        self._tamper()
        if setting.tls:
            Path("ca.der").write_bytes(Path(self.standin.ca_der).read_bytes())
        name = {"mqtt": "mqtts", "http": "https"}[setting.transport] if setting.tls else setting.transport
        port = getattr(self.standin, f"{name}_port")
        self.proxy = (UdpProxy(port) if setting.transport == "coap" else TcpProxy(port)).__enter__()
        self.names = (f"board-{i}" for i in itertools.count(1))
        if setting.naive == "deadlines":
            naive_deadlines()

    def _tamper(self):
        # What the server itself does at the moment of the request.
        core, provision, answer = self.standin.core, self.standin.core.provision, mqtt.Connection._answer

        async def tampered(transport, body):
            what, self.at_request = self.at_request, "answer"
            if what == "restart":
                threading.Thread(target=self._restart).start()
                await asyncio.sleep(10)
            result = await provision(transport, body)
            if what == "restart after":
                threading.Thread(target=self._restart).start()
                await asyncio.sleep(10)
            return result

        def doubled(connection, *args):
            answer(connection, *args)
            if self.doubles:
                answer(connection, *args)

        self.doubles = False
        core.provision = tampered
        mqtt.Connection._answer = doubled

    def _restart(self):
        self.standin.stop()
        time.sleep(0.03)
        self.standin.start()

    def run(self, case=None):
        """One first boot with this fault; returns the Outcome."""
        name = next(self.names)
        if self.setting.strategy == PRE_PROVISIONED:
            self.standin.add_device(name, self.profile, f"prepared-for-{name}")
        self._prepare(case)
        out = io.StringIO()
        began = time.monotonic()
        with contextlib.redirect_stdout(out):
            ended, spans = self._boot(name)
        seconds = time.monotonic() - began
        longest = max(spans, default=0)
        if longest > TIMEOUT + SLACK:
            ended = f"a verb took {longest:.1f} s"
        elif seconds > len(spans) * TIMEOUT + 2 * SLACK:
            ended = f"took {seconds:.1f} s, {len(spans)} verbs"
        if ended in ("right", "operator") and (CONFLICT in out.getvalue()) != (ended == "operator"):
            ended = "said the wrong thing"
        return Outcome(case, ended, seconds, longest, "" if ended == "right" else out.getvalue(), self._sizes())

    def _prepare(self, case):
        self.at_request, self.doubles = "answer", False
        proxy = self.proxy
        if isinstance(proxy, UdpProxy):
            base = dict(proxy._counts)

            def decide(way, number, data):
                number -= base[way]
                if case is None or way != case.way:
                    return "pass"
                if case.what == "silence":
                    return "drop" if case.at <= number < case.at + 6 else "pass"
                return (
                    case.what if number == case.at and case.what in ("drop", "double", "reorder", "corrupt") else "pass"
                )

            proxy.decide, self.base = decide, len(proxy.datagrams)
        else:
            self.base = len(proxy.links)
            chosen = case and case.what in ("cut", "reset", "stall", "trickle", "late")
            proxy.plan = lambda n: fault(case) if chosen and n - self.base == case.link else Fault()
        if case and case.what in ("restart", "restart after"):
            self.at_request = case.what
        if case and case.what == "double" and not isinstance(proxy, UdpProxy):
            self.doubles = True

    def _sizes(self):
        if isinstance(self.proxy, UdpProxy):
            ways = [d.way for d in self.proxy.datagrams[self.base :]]
            return [(ways.count("up"), ways.count("down"))]
        return [(len(link.up), len(link.down)) for link in self.proxy.links[self.base :]]

    def _boot(self, name):
        from firstboot.candidate import make
        from firstboot.link import Denied
        from firstboot.store import VERIFIED, Store

        if self.setting.naive == "handshake":
            Provisioner = naive_handshake().Provisioner
        else:
            from firstboot.provision import Provisioner

        spans, slots = [], [Slot(), Slot()]
        pauses = itertools.count(1)
        conflicts = itertools.count(1)
        operated = []

        def pause(is_slow):
            if next(pauses) > MOST_PAUSES:
                raise Stuck
            if is_slow and next(conflicts) == 3:  # it went on asking meanwhile
                operated.append(name)
                self._operate(name)
            time.sleep(PAUSE)

        link = timed(self._link(), spans)
        store = Store(slots)
        try:
            own = lambda: make(self.setting.mode, name, FLEET_SECRET, os.urandom)  # noqa: E731
            if self.setting.mode == "server":
                own = lambda: None  # noqa: E731
            Provisioner(link, store, name, "profile-key", "profile-secret", own, pause).run()
            self._telemetry(link, store, pause, Denied)
        except Stuck:
            return "stuck", spans
        except Exception as e:  # noqa: BLE001 - nothing may come out; the board would start again
            return f"crashed: {e!r}", spans
        finally:
            link.close()
        store = Store(slots)
        if store.state != VERIFIED:
            return f"state {store.state}", spans
        wrong = self._wrong(name, store.credentials)
        if wrong:
            return wrong, spans
        if operated and not self.setting.may_need_operator:
            return "locked out", spans
        return "operator" if operated else "right", spans

    def _telemetry(self, link, store, pause, denied):
        # The loop's part: send until it is acknowledged.
        for _ in range(MOST_PAUSES):
            try:
                link.send(b'{"hello":1}')
                return
            except OSError:
                link.close()
            while True:
                pause(False)
                try:
                    link.open(store.credentials)
                    break
                except OSError:
                    link.close()

    def _operate(self, name):
        device = self.standin.device(name)
        if self.setting.strategy == PRE_PROVISIONED:
            self.standin.registry.delete_attributes(device.id, "SERVER_SCOPE", ["provisionState"])
        else:
            self.standin.delete_device(name)

    def _wrong(self, name, credentials):
        devices = [device for device in self.standin.devices() if device.name == name]
        if len(devices) != 1:
            return f"{len(devices)} devices"
        stored = devices[0].credentials
        if stored.id != credentials.get("token") and (stored.value or {}).get("password") != credentials.get(
            "password"
        ):
            return "the board's credentials are not the server's"
        if not self.standin.telemetry(name):
            return "no telemetry on the server"
        self.standin.delete_device(name)
        return None

    def _link(self):
        from firstboot.config import check

        setting = self.setting
        config = check(
            {
                "server": {
                    "host": "localhost" if setting.tls else "127.0.0.1",
                    "port": self.proxy.port,
                    "timeout": TIMEOUT,
                },
                "tls": {"enabled": setting.tls},
                "transport": setting.transport,
                "provision": {"key": "profile-key", "secret": "profile-secret"},
            }
        )
        module = __import__(f"firstboot.link.{setting.transport}", None, None, ("Link",))
        return module.Link(config)


def timed(link, spans):
    """The link, with the seconds that its verbs took added to `spans`."""
    for verb in ("ask", "open", "send"):
        setattr(link, verb, _timed(getattr(link, verb), spans))
    return link


def _timed(verb, spans):
    def call(*args):
        began = time.monotonic()
        try:
            return verb(*args)
        finally:
            spans.append(time.monotonic() - began)

    return call


def naive_handshake():
    """The naive handshake of the power-cut simulator, as a module of the firmware's."""
    path = Path(__file__).parent.parent / "powercut" / "naive" / "provision.py"
    spec = importlib.util.spec_from_file_location("firstboot.naive", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def naive_deadlines():
    """A wire on which each wait has a deadline of its own, so that the sum of them has none."""
    from firstboot.link.wire import Wire

    ready = Wire.ready

    def wait(wire, step):
        wire.within(wire.limit)
        return ready(wire, step)

    Wire.ready = wait


class Slot:
    """A slot of the store in memory."""

    data = b""

    def read(self):
        return self.data

    def write(self, data):
        self.data = data


# The side of a worker process

_bench = None


def start(setting):
    """Make this process's bench."""
    global _bench
    import micro

    micro.install()
    sys.modules["requests"] = None  # type: ignore[assignment]  # the firmware's is urequests
    _bench = Bench(setting)


def run(case):
    """Run one case on this process's bench."""
    return _bench.run(case)
