"""What the transports share: registry, release, live sessions, and what is said of it all."""

from __future__ import annotations

import asyncio
import json
import time
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, Protocol

from . import provisioning, values
from .limits import Limits
from .registry import Credentials, Device, Registry, flaw
from .release import Release
from .updates import Updates
from .values import Record

# Seconds, as contract 2.3, 3, 4.2 and 10 have them; all are multiplied by Core.scale.
CORE_TIMEOUT = 12  # 10 s nominal, swept once per 10 s
PROVISION_SESSION = 60
IDLE = 600
RPC_TIMEOUT = 10
RPC_LEAST = 5
DEVICE_RPC = 60
CLAIM = 86400  # how long a device may be claimed if it does not say, and how long a claim is in the server's cache
ASYNC_LIMIT = 30  # HTTP answers of the single-process server


@dataclass
class Event:
    """Something that happened: when, on which transport, with which peer or device, and what."""

    transport: str
    who: str
    what: str
    time: float = field(default_factory=time.time)


@dataclass
class Rpc:
    """A server-side RPC request on its way."""

    id: int
    method: str
    params: Any
    reply: asyncio.Future[Any]
    is_oneway: bool = False
    is_delivered: bool = False

    def document(self) -> dict[str, Any]:
        """What HTTP and CoAP hand to the device."""
        return {"id": self.id, "method": self.method, "params": self.params}


class Session(Protocol):
    """A device's live session or HTTP poll, as the rest of the server sees it."""

    def close(self, why: str) -> None:
        """End it."""

    def push_shared(self, update: dict[str, Any]) -> None:
        """Send a change of shared attributes, if the device has asked for them."""

    def push_rpc(self, rpc: Rpc) -> None:
        """Send an RPC request, if the device has asked for them; Core.delivered() once it is handed over."""


class RpcError(Exception):
    """An RPC that came to nothing: `was_sent` tells whether the device got it."""

    def __init__(self, was_sent: bool) -> None:
        super().__init__("no reply in time" if was_sent else "no active connection")
        self.was_sent = was_sent


@dataclass(frozen=True)
class Fate:
    """What becomes of an answer although the server has done its work.

    `kind`: "drop" (nothing is sent, the connection stays), "ack" (MQTT: a PUBACK and no more; else like "drop"),
    "close" (the connection ends), "restart" (the server does, and is away for `seconds`), "delay" (by `seconds`),
    "double" (sent twice), "replace" (`body` is sent instead).
    """

    kind: str
    seconds: float = 0
    body: bytes = b""

    def __post_init__(self) -> None:
        if self.kind not in ("drop", "ack", "close", "restart", "delay", "double", "replace"):
            raise ValueError(f"{self.kind}: no such fate")


@dataclass
class Claim:
    """A device's wish to be claimed."""

    secret: str
    until: float
    evicted: float  # when the record goes, be the claim over or not


class Core:
    """The server behind the transports. Runs on one asyncio loop."""

    def __init__(self, registry: Registry, release: Release, scale: float, say: Callable[[Event], None]) -> None:
        self.registry = registry
        self.release = release
        self.scale = scale
        self._say = say
        self.sessions: dict[str, Session] = {}
        self.polls: dict[str, list[Session]] = {}
        self.provision_requests: list[str] = []
        self.limits = Limits()
        self.methods: dict[str, Callable[[Any], Any]] = {}
        self.claims: dict[str, Claim] = {}
        self.owned: set[str] = set()  # devices that a customer has claimed
        self.fates: dict[str, deque[Fate]] = {"provision": deque(), "telemetry": deque()}
        self.restart: Callable[[float], None] = lambda seconds: None
        self.updates = Updates(self)
        self.rpcs: dict[str, dict[int, Rpc]] = {}
        self._rpc_ids: dict[str, int] = {}

    def say(self, transport: str, who: str, what: str) -> None:
        """Tell what happened."""
        self._say(Event(transport, who, what))

    async def sleep(self, seconds: float) -> None:
        """Sleep for scaled seconds."""
        await asyncio.sleep(seconds * self.scale)

    def fate(self, step: str, transport: str, who: str) -> Fate | None:
        """The next planned fate of an answer in "provision" or "telemetry", now used up."""
        if not self.fates[step]:
            return None
        fate = self.fates[step].popleft()
        self.say(transport, who, f"fault: {fate.kind} the answer")
        if fate.kind == "restart":
            self.restart(fate.seconds)
        return fate

    async def provision(self, transport: str, body: bytes) -> dict[str, Any]:
        """Answer a provisioning request. SyntaxFault, MemberFault, or CoreFault after the core's time-out."""
        try:
            request = provisioning.parse(body)
        except (provisioning.SyntaxFault, provisioning.MemberFault) as e:
            self.say(transport, "?", f"malformed provisioning request: {e}")
            raise
        self.provision_requests.append(request.name or "")
        try:
            answer = provisioning.provision(self.registry, self.release, request)
        except provisioning.CoreFault as e:
            self.say(transport, request.name or "?", f"provisioning request without an answer: {e}")
            await self.sleep(CORE_TIMEOUT)
            raise
        detail = f", {answer['credentialsType']}" if answer["status"] == "SUCCESS" else ""
        self.say(transport, request.name or "?", f"provisioning request: {answer['status']}{detail}")
        return answer

    def telemetry(self, transport: str, device: Device, records: list[Record]) -> None:
        """Store telemetry, but the records with a key that the storage refuses; Limited."""
        points = [point for record in records for point in record]
        self.limits.check(device.id, len(points))
        for record in records:
            if self._is_storable(transport, device, [name for name, _, _ in record]):
                self.registry.add_series(device.id, record)
        shown = ", ".join(f"{name}={json.dumps(value)}" for name, _, value in points[:4])
        more = f" and {len(points) - 4} more" if len(points) > 4 else ""
        self.say(transport, device.name, f"telemetry {shown}{more}")

    def attributes(self, transport: str, device: Device, values: dict[str, Any]) -> None:
        """Store client attributes, unless one has a key that the storage refuses; Limited."""
        self.limits.check(device.id, len(values))
        if self._is_storable(transport, device, values):
            self.registry.set_attributes(device.id, "CLIENT_SCOPE", values)
        self.say(transport, device.name, f"attributes {json.dumps(values)}")

    def _is_storable(self, transport: str, device: Device, keys: Iterable[str]) -> bool:
        # One key that is refused costs all that comes with it. The device hears nothing of that: its message is
        # acknowledged before it is stored (contract 3 and 5).
        refused = next((key for key in keys if flaw(key)), None)
        if refused is not None:
            self.say(transport, device.name, f"not stored: the key {refused[:20]!r} {flaw(refused)}")
        return refused is None

    def requested_attributes(self, device: Device, client: list[str], shared: list[str]) -> dict[str, Any] | None:
        """What is found of these keys, of all if there are none; None, no answer, where one is empty (contract 6)."""
        if "" in client or "" in shared:
            return None
        answer = {}
        every = not client and not shared
        for scope, member, keys in (("CLIENT_SCOPE", "client", client), ("SHARED_SCOPE", "shared", shared)):
            if not every and not keys:
                continue
            stored = self.registry.attributes(device.id, scope)
            found = stored if every else {key: stored[key] for key in keys if key in stored}
            if found:
                answer[member] = found
        return answer

    def set_shared(self, device: Device, values: dict[str, Any]) -> None:
        """Change shared attributes and push them to who listens."""
        self.registry.set_attributes(device.id, "SHARED_SCOPE", values)
        for listener in self._listeners(device):
            listener.push_shared(values)

    def delete_shared(self, device: Device, names: list[str]) -> None:
        """Remove shared attributes and tell who listens."""
        self.registry.delete_attributes(device.id, "SHARED_SCOPE", names)
        for listener in self._listeners(device):
            listener.push_shared({"deleted": names})

    def may_use(self, device: Device, transport: str) -> bool:
        """Whether the device's profile is for this transport, "MQTT" or "COAP" (contract 2.2)."""
        profile = self.registry.profile(id=device.profile)
        return profile is None or profile.info.get("transportType", "DEFAULT") in ("DEFAULT", transport)

    def begin(self, device: Device, session: Session) -> None:
        """A session begins; an older one of the device ends: one at a time (contract 3)."""
        self.end_session(device.id, "another session took over")
        self.sessions[device.id] = session

    def _listeners(self, device: Device) -> list[Session]:
        session = self.sessions.get(device.id)
        return [*([session] if session else []), *self.polls.get(device.id, [])]

    def set_credentials(self, device: Device, credentials: Credentials) -> None:
        """Change a device's credentials; its session ends."""
        self.registry.set_credentials(device.id, credentials)
        self.end_session(device.id, "credentials changed")

    def delete_device(self, device: Device) -> None:
        """Delete a device; its session ends."""
        self.registry.delete_device(device.id)
        self.end_session(device.id, "device deleted")

    def end_session(self, device_id: str, why: str) -> None:
        """Close the device's session, if there is one."""
        session = self.sessions.pop(device_id, None)
        if session:
            session.close(why)

    def rpc(self, device: Device, method: str, params: Any, timeout: float = RPC_TIMEOUT, oneway: bool = False) -> Rpc:
        """Queue a server-side RPC for `timeout` seconds and push it to who listens; its reply may be a RpcError."""
        number = self._rpc_ids.get(device.id, 0)
        self._rpc_ids[device.id] = number + 1
        loop = asyncio.get_running_loop()
        rpc = Rpc(number, method, params, loop.create_future(), oneway)
        rpc.reply.add_done_callback(lambda reply: reply.cancelled() or reply.exception())  # nobody may be waiting
        self.rpcs.setdefault(device.id, {})[number] = rpc
        loop.call_later(timeout, self._expire, device, rpc)
        self.say("rpc", device.name, f"request {number}: {method}")
        for listener in self._listeners(device):
            listener.push_rpc(rpc)
        return rpc

    def pending(self, device: Device) -> list[Rpc]:
        """Requests without a reply: pushed again at each subscription."""
        return list(self.rpcs.get(device.id, {}).values())

    def delivered(self, device: Device, rpc: Rpc) -> None:
        """The device has got the request; a one-way call is done."""
        rpc.is_delivered = True
        if rpc.is_oneway:
            self.rpc_reply(device, rpc.id, None)

    def _expire(self, device: Device, rpc: Rpc) -> None:
        self.rpcs.get(device.id, {}).pop(rpc.id, None)
        if not rpc.reply.done():
            rpc.reply.set_exception(RpcError(rpc.is_delivered))

    def forget_calls(self) -> None:
        """What a restart loses: RPC requests, and their numbers, which begin at 0 again."""
        for calls in self.rpcs.values():
            for rpc in calls.values():
                rpc.reply.cancel()
        self.rpcs.clear()
        self._rpc_ids.clear()

    async def device_call(self, method: str, params: Any) -> Any:
        """The answer to a client-side RPC: of `methods`, else what ThingsBoard says when no rule chain answers."""
        if method in self.methods:
            return self.methods[method](params)
        await self.sleep(DEVICE_RPC)
        return {"error": "timeout"}

    def claim(self, device: Device, body: bytes) -> None:
        """Note a claim, unless the device has an owner; the first wins until it is evicted (contract 8). Malformed."""
        document = values.document(body) if body else {}
        if not isinstance(document, dict):
            raise values.Malformed("not an object")
        known = self.claims.get(device.id)
        if device.id in self.owned or known and known.evicted > time.time():
            return
        lasts = values.typed(document.get("durationMs"))
        seconds = lasts / 1000 if isinstance(lasts, (int, float)) and lasts > 0 else CLAIM
        now = time.time()
        self.claims[device.id] = Claim(str(document.get("secretKey") or ""), now + seconds, now + CLAIM)
        self.say("claim", device.name, f"may be claimed for {seconds:.0f} s")

    def rpc_reply(self, device: Device, number: int, value: Any) -> None:
        """A device's reply; stale and duplicate ones are ignored."""
        rpc = self.rpcs.get(device.id, {}).pop(number, None)
        if rpc and not rpc.reply.done():
            rpc.reply.set_result(value)


def rpc_payload(rpc: Rpc) -> bytes:
    """What a device gets on MQTT: the id is in the topic only."""
    return json.dumps({"method": rpc.method, "params": rpc.params}).encode()


def session_limits(limits: Limits) -> dict[str, Any]:
    """The answer to the device's RPC `getSessionLimits` (contract 3)."""
    return {"maxPayloadSize": 65536, "maxInflightMessages": 100, "rateLimits": limits.document()}
