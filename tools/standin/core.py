"""What the transports share: registry, release, clock, live sessions, and what is said of it all."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Protocol

from . import provisioning
from .registry import Credentials, Device, Registry, now_ms
from .release import Release
from .values import Point

# Seconds, as contract 2.3, 3, 4.2 and 10 have them; all are multiplied by Core.scale.
CORE_TIMEOUT = 12  # 10 s nominal, swept once per 10 s
PROVISION_SESSION = 60
IDLE = 600
RPC_TIMEOUT = 10


@dataclass
class Event:
    """Something that happened: when, on which transport, with which peer or device, and what."""

    transport: str
    who: str
    what: str
    time: float = field(default_factory=time.time)


class Session(Protocol):
    """A device's live MQTT session, as the rest of the server sees it."""

    def close(self, why: str) -> None:
        """End it."""

    def push(self, topic: str, payload: bytes) -> None:
        """Publish to the device, if it has subscribed."""


@dataclass
class Rpc:
    """A server-side RPC request on its way."""

    id: int
    method: str
    params: Any
    reply: asyncio.Future[Any]


class Core:
    """The server behind the transports. Runs on one asyncio loop."""

    def __init__(self, registry: Registry, release: Release, scale: float, say: Callable[[Event], None]) -> None:
        self.registry = registry
        self.release = release
        self.scale = scale
        self._say = say
        self.sessions: dict[str, Session] = {}
        self.provision_requests: list[str] = []
        self.rpcs: dict[str, dict[int, Rpc]] = {}
        self._rpc_ids: dict[str, int] = {}

    def say(self, transport: str, who: str, what: str) -> None:
        """Tell what happened."""
        self._say(Event(transport, who, what))

    async def sleep(self, seconds: float) -> None:
        """Sleep for scaled seconds."""
        await asyncio.sleep(seconds * self.scale)

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

    def telemetry(self, transport: str, device: Device, points: list[Point]) -> None:
        """Store telemetry points."""
        self.registry.add_series(device.id, points)
        shown = ", ".join(f"{name}={json.dumps(value)}" for name, _, value in points[:4])
        more = f" and {len(points) - 4} more" if len(points) > 4 else ""
        self.say(transport, device.name, f"telemetry {shown}{more}")

    def attributes(self, transport: str, device: Device, values: dict[str, Any]) -> None:
        """Store client attributes."""
        self.registry.set_attributes(device.id, "CLIENT_SCOPE", values)
        self.say(transport, device.name, f"attributes {json.dumps(values)}")

    def requested_attributes(self, device: Device, client: str | None, shared: str | None) -> dict[str, Any]:
        """The answer to an attribute request; keys are split at commas without trimming (contract 6)."""
        answer = {}
        every = not client and not shared
        for scope, member, keys in (("CLIENT_SCOPE", "client", client), ("SHARED_SCOPE", "shared", shared)):
            if not every and not keys:
                continue
            stored = self.registry.attributes(device.id, scope)
            found = stored if every else {k: stored[k] for k in (keys or "").split(",") if k in stored}
            if found:
                answer[member] = found
        return answer

    def set_shared(self, device: Device, values: dict[str, Any]) -> None:
        """Change shared attributes and push them to a subscribed session."""
        self.registry.set_attributes(device.id, "SHARED_SCOPE", values)
        session = self.sessions.get(device.id)
        if session:
            session.push("v1/devices/me/attributes", json.dumps(values).encode())

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

    def rpc(self, device: Device, method: str, params: Any) -> Rpc:
        """Queue a server-side RPC and push it to a subscribed session."""
        number = self._rpc_ids.get(device.id, 0)
        self._rpc_ids[device.id] = number + 1
        rpc = Rpc(number, method, params, asyncio.get_running_loop().create_future())
        self.rpcs.setdefault(device.id, {})[number] = rpc
        session = self.sessions.get(device.id)
        if session:
            session.push(f"v1/devices/me/rpc/request/{number}", rpc_payload(rpc))
        return rpc

    def rpc_reply(self, device: Device, number: int, value: Any) -> None:
        """A device's reply; stale and duplicate ones are ignored."""
        rpc = self.rpcs.get(device.id, {}).pop(number, None)
        if rpc and not rpc.reply.done():
            rpc.reply.set_result(value)


def rpc_payload(rpc: Rpc) -> bytes:
    """What a device gets on MQTT: the id is in the topic only."""
    return json.dumps({"method": rpc.method, "params": rpc.params}).encode()


def session_limits() -> dict[str, Any]:
    """The answer to the device's RPC `getSessionLimits` (contract 3)."""
    return {
        "maxPayloadSize": 65536,
        "maxInflightMessages": 100,
        "rateLimits": {"messages": None, "telemetryMessages": None, "telemetryDataPoints": None},
    }


def clock() -> int:
    """The server's time for values that bring none."""
    return now_ms()
