"""The cases of the network-fault matrix, and what stands between a board and its server to make them happen."""

import asyncio
import threading
import time
from dataclasses import dataclass, field
from unittest import mock

from tools.standin import mqtt
from tools.standin.faults import Fault, TcpProxy, UdpProxy, Way
from tools.standin.provisioning import ALLOW_CREATE, PRE_PROVISIONED

SECURE = {"mqtt": "mqtts", "http": "https", "coap": "coaps"}
TIMEOUT = 0.25  # seconds, server.timeout
SLACK = 2.5  # seconds that a verb of a link may be late on a busy machine
SLOW = 3  # slow tries, each of which says CONFLICT in one line, until the operator resets the device
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
    vm: bool = False  # a virtual board boots, instead of the firmware's parts on CPython

    @property
    def may_need_operator(self):
        """Whether the protocol leaves a dead end: an answer that only the server knows, lost."""
        return self.mode == "server" or (self.strategy == PRE_PROVISIONED and self.release == "4.4")

    def __str__(self):
        way = self.transport + (" with TLS" if self.tls else "")
        plan = ", pre-provisioned " + self.release if self.strategy == PRE_PROVISIONED else ""
        return f"{way}, {self.mode}{plan}{' on the VM' if self.vm else ''}"


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


def is_same(stored, own):
    """Whether the credentials that the server has are the board's `own`."""
    if stored.type == "X509_CERTIFICATE":
        return "files" in own or stored.value == own.get("certificate")  # what is in files is the caller's to compare
    if stored.type == "MQTT_BASIC":
        return (stored.value["userName"], stored.value["password"]) == (own.get("username"), own.get("password"))
    return stored.id == own.get("token")


class Between:
    """The proxy before `standin`, and what the server itself does at the moment of the request."""

    def __init__(self, setting, standin):
        self.standin = standin
        self.at_request, self.doubles, self.base = "answer", False, 0
        self._tamper()
        port = getattr(standin, f"{SECURE[setting.transport] if setting.tls else setting.transport}_port")
        self.proxy = (UdpProxy(port) if setting.transport == "coap" else TcpProxy(port)).__enter__()

    def close(self):
        """Everything is as it was."""
        self.proxy.__exit__()
        self._patch.stop()

    def prepare(self, case):
        """From now on `case` goes wrong; None: nothing does."""
        self.at_request = case.what if case and case.what in ("restart", "restart after") else "answer"
        if isinstance(self.proxy, UdpProxy):
            self._datagrams(case)
        else:
            self._bytes(case)

    def sizes(self):
        """Bytes up and down of each connection since prepare(), or all datagrams as those of one connection."""
        if isinstance(self.proxy, UdpProxy):
            ways = [d.way for d in self.proxy.datagrams[self.base :]]
            return [(ways.count("up"), ways.count("down"))]
        return [(len(link.up), len(link.down)) for link in self.proxy.links[self.base :]]

    def _bytes(self, case):
        self.doubles = case is not None and case.what == "double"
        self.base = len(self.proxy.links)
        chosen = case and case.what in ("cut", "reset", "stall", "trickle", "late")
        self.proxy.plan = lambda n: fault(case) if chosen and n - self.base == case.link else Fault()

    def _datagrams(self, case):
        before = dict(self.proxy._counts)

        def decide(way, number, data):
            number -= before[way]
            if case is None or way != case.way:
                return "pass"
            if case.what == "silence":
                return "drop" if case.at <= number < case.at + 6 else "pass"
            return case.what if number == case.at and case.what in ("drop", "double", "reorder", "corrupt") else "pass"

        self.proxy.decide, self.base = decide, len(self.proxy.datagrams)

    def _tamper(self):
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

        core.provision = tampered
        self._patch = mock.patch.object(mqtt.Connection, "_answer", doubled)
        self._patch.start()

    def _restart(self):
        self.standin.stop()
        time.sleep(0.03)
        self.standin.start()
