"""ThingsBoard's CoAP transport for devices (contract 2.5, 4.1, 4.6, 5 to 9), on aiocoap."""

from __future__ import annotations

import asyncio
import json
import logging
import os
from collections.abc import Callable
from typing import Any
from urllib.parse import unquote

from aiocoap import Context, Message
from aiocoap.numbers.codes import Code
from aiocoap.numbers.constants import TransportTuning
from aiocoap.pipe import Pipe
from aiocoap.resource import Resource

from . import authentication, ota, provisioning, values
from .core import Core, Rpc
from .limits import Limited
from .registry import Device, now_ms
from .updates import NoPackage

_PIGGYBACK = 0.5  # seconds; a later answer comes separately, after an empty ACK
_SILENT = 26  # RFC 7967: nothing but that empty ACK
Answer = tuple[Code | None, bytes]
_FEATURES = ("telemetry", "attributes", "claim", "rpc")  # no token comes before them where a certificate did
_OBSERVABLE = (["attributes"], ["rpc"])
_NOTHING: Answer = (None, b"")


class DeviceApi(Resource):
    """Everything below /api/v1, and fw and sw. `delay` seconds pass before each answer, so that it comes separately."""

    def __init__(self, core: Core) -> None:
        super().__init__()
        self.core = core
        self.delay = 0.0
        self.certified: dict[tuple[str, int], str] = {}  # address of a DTLS client -> credentials id of its device
        self.tuning = TransportTuning()
        self.tuning.EMPTY_ACK_DELAY = _PIGGYBACK * core.scale
        self.tuning.ACK_TIMEOUT *= core.scale

    async def render_to_pipe(self, request: Pipe) -> None:
        """Observations of shared attributes and RPC requests; the rest goes its usual way."""
        message = request.request
        match message.opt.uri_path:
            case ("api", "v1", _, *_) if message.code == Code.GET and message.opt.observe == 0:
                device, rest = self._addressed(message)
                if isinstance(device, Device) and rest in _OBSERVABLE:
                    await self._observe(request, device, rest[0])
                    return
        await super().render_to_pipe(request)

    async def render_post(self, request: Message) -> Message:
        """What a device sends."""
        match request.opt.uri_path:
            case ("fw" | "sw", *_):
                return await self._answer((Code.METHOD_NOT_ALLOWED, b""))
            case ("api", "v1", "provision") | ("api", "v1", _, "provision"):
                return await self._answer(await self._provision(request.payload), "provision")
            case ("api", "v1", _, *_):
                device, rest = self._addressed(request)
                if isinstance(device, Code):
                    return await self._answer((device, b""))
                step = "telemetry" if rest[-1:] in (["telemetry"], ["attributes"]) else None
                return await self._answer(await self._posted(device, rest, request.payload), step)
        return await self._answer((Code.NOT_FOUND, b""))

    async def render_get(self, request: Message) -> Message:
        """Client and shared attributes by key; the end of an observation; OTA packages."""
        match request.opt.uri_path:
            case ("fw" | "sw" as kind, *token):
                return await self._answer(self._package(kind, token, _query(request)))
            case ("api", "v1", _, *_):
                device, rest = self._addressed(request)
                if isinstance(device, Code):
                    return await self._answer((device, b""))
                if rest in _OBSERVABLE and request.opt.observe == 1:
                    return await self._answer((Code.DELETED, b""))  # with the token of the observation that it ends
                if rest == ["attributes"]:
                    return await self._answer(self._get_attributes(device, _query(request)))
                if rest == ["rpc"]:
                    return await self._answer((Code.BAD_REQUEST, b""))
        return await self._answer((Code.NOT_FOUND, b""))

    async def _answer(self, answer: Answer, step: str | None = None) -> Message:
        code, body = answer
        fate = self.core.fate(step, "coap", "?") if step else None
        kind = fate.kind if fate else ""
        await asyncio.sleep(self.delay + (fate.seconds if fate and kind == "delay" else 0))
        if code is None or kind in ("drop", "ack", "close", "restart"):
            return Message(code=Code.CONTENT, no_response=_SILENT)
        if fate and kind == "replace":
            body = fate.body
        message = Message(code=code, payload=body, transport_tuning=self.tuning)
        message.is_doubled = kind == "double"
        return message

    async def _provision(self, body: bytes) -> Answer:
        if not body:
            self.core.say("coap", "?", "empty provisioning request")
            return Code.BAD_REQUEST, provisioning.as_protobuf(provisioning.refusal("NOT_FOUND"))
        try:
            answer = await self.core.provision("coap", body)
        except (provisioning.SyntaxFault, provisioning.MemberFault):
            return Code.BAD_REQUEST, b""
        except provisioning.CoreFault:
            return Code.INTERNAL_SERVER_ERROR, b""
        is_granted = answer["status"] == "SUCCESS"
        return Code.CREATED if is_granted else Code.BAD_REQUEST, provisioning.as_json(answer)

    async def _posted(self, device: Device, rest: list[str], body: bytes) -> Answer:
        try:
            return await self._dispatch(device, rest, body)
        except values.Malformed:
            return Code.BAD_REQUEST, b""
        except (values.BadTimestamp, Limited, _Fault):
            return Code.INTERNAL_SERVER_ERROR, b""

    async def _dispatch(self, device: Device, rest: list[str], body: bytes) -> Answer:
        match rest:
            case ["telemetry"]:
                records = values.telemetry(body, now_ms())
                if records is None:
                    return _NOTHING
                self.core.telemetry("coap", device, records)
            case ["attributes"]:
                self.core.attributes("coap", device, values.attributes(body))
            case ["claim"]:
                self.core.limits.check(device.id)
                self.core.claim(device, body)
            case ["rpc"]:
                return await self._device_call(device, body)
            case ["rpc", number] if number.isdecimal():
                reply = _object(body)
                self.core.limits.check(device.id)
                self.core.rpc_reply(device, int(number), values.plain(reply))
            case _:
                return Code.NOT_FOUND, b""
        return Code.CREATED, b""

    async def _device_call(self, device: Device, body: bytes) -> Answer:
        document = _object(body)
        method = values.text(document, "method")
        if method is None:
            raise _Fault("no method")
        self.core.limits.check(device.id)
        if method not in self.core.methods:
            return _NOTHING  # no rule chain answers, and the session is dropped before that is known
        answer = await self.core.device_call(method, values.plain(document.get("params")))
        return Code.CONTENT, json.dumps(answer).encode()

    def _get_attributes(self, device: Device, asked: dict[str, str]) -> Answer:
        try:
            self.core.limits.check(device.id)
        except Limited:
            return Code.INTERNAL_SERVER_ERROR, b""
        wanted = [values.keys(asked.get(member) or None) for member in ("clientKeys", "sharedKeys")]
        found = self.core.requested_attributes(device, *wanted)
        if found is None:
            return _NOTHING
        return (Code.CONTENT, json.dumps(found).encode()) if found else (Code.NOT_FOUND, b"")

    def _package(self, kind: str, token: list[str], asked: dict[str, str]) -> Answer:
        device = self._device(token[0]) if len(token) == 1 else Code.UNAUTHORIZED
        if isinstance(device, Code):
            return device, b""
        try:
            package = self.core.updates.wanted(device, kind)
            named = asked.get("title", package.title), asked.get("version", package.version)
            if named != (package.title, package.version):
                return Code.BAD_REQUEST, b""
            size, number = (ota.integer(asked.get(name) or "0") for name in ("size", "chunk"))
        except NoPackage:
            return Code.NOT_FOUND, b""
        except (Limited, ValueError):
            return Code.INTERNAL_SERVER_ERROR, b""
        self.core.updates.tell_start("coap", device, package, number)
        data = self.core.updates.chunk(package.id, size, number)
        return (Code.CONTENT, data) if data else _NOTHING

    async def _observe(self, pipe: Pipe, device: Device, what: str) -> None:
        try:
            self.core.limits.check(device.id)
        except Limited:
            pipe.add_response(Message(code=Code.INTERNAL_SERVER_ERROR, transport_tuning=self.tuning), is_last=True)
            return
        session = self.core.sessions.get(device.id)
        if not isinstance(session, Observer):
            session = Observer(self.core, device)
            self.core.begin(device, session)
        queue = session.observe(what)
        try:
            number = 0
            while True:
                code, body = await queue.get()
                message = Message(code=code, payload=body, transport_tuning=self.tuning)
                if not code.is_successful():
                    pipe.add_response(message, is_last=True)
                    return
                message.opt.observe, number = number, number + 1
                pipe.add_response(message, is_last=False)
        finally:
            session.forget(what, queue)

    def _addressed(self, request: Message) -> tuple[Device | Code, list[str]]:
        # Who sends this, or the code that refuses it; and the path after api/v1 and the token, which a certificate
        # makes needless as long as it is the device's.
        _, _, first, *rest = request.opt.uri_path
        known = self.certified.get(tuple(request.remote.address[:2]))
        device = self.core.registry.device_by_credentials(known) if known else None
        if device and first in _FEATURES:
            return self._admitted(device), [first, *rest]
        return self._device(first), rest

    def _device(self, token: str) -> Device | Code:
        device = authentication.by_token(self.core.registry, token)
        if device is None:
            self.core.say("coap", token[:4] + "...", "4.01")
            return Code.UNAUTHORIZED
        return self._admitted(device)

    def _admitted(self, device: Device) -> Device | Code:
        if self.core.may_use(device, "COAP"):
            return device
        self.core.say("coap", device.name, "5.00: its profile is for another transport")
        return Code.INTERNAL_SERVER_ERROR


class Observer:
    """A device that observes: its one session, with a queue of notifications for "attributes" and for "rpc"."""

    def __init__(self, core: Core, device: Device) -> None:
        self.core = core
        self.device = device
        self.queues: dict[str, asyncio.Queue[tuple[Code, bytes]]] = {}

    def observe(self, what: str) -> asyncio.Queue[tuple[Code, bytes]]:
        """A new queue with the first notification; it takes the place of an older one."""
        queue = self.queues[what] = asyncio.Queue()
        self.core.say("coap", self.device.name, f"observes {what}")
        if what == "attributes":
            shared = self.core.registry.attributes(self.device.id, "SHARED_SCOPE")
            queue.put_nowait((Code.CONTENT, json.dumps(shared).encode()))
        else:
            queue.put_nowait((Code.VALID, b""))
            for rpc in self.core.pending(self.device):
                self.push_rpc(rpc)
        return queue

    def forget(self, what: str, queue: asyncio.Queue[tuple[Code, bytes]]) -> None:
        """An observation is over; with the last one the session is."""
        if self.queues.get(what) is queue:
            del self.queues[what]
        if not self.queues and self.core.sessions.get(self.device.id) is self:
            del self.core.sessions[self.device.id]
            self.core.say("coap", self.device.name, "observes no more")

    def close(self, why: str) -> None:
        """End every observation."""
        self.core.say("coap", self.device.name, f"closed: {why}")
        for queue in self.queues.values():
            queue.put_nowait((Code.SERVICE_UNAVAILABLE, b""))

    def push_shared(self, update: dict[str, Any]) -> None:
        """Notify of changed attributes."""
        if "attributes" in self.queues:
            self.queues["attributes"].put_nowait((Code.CONTENT, json.dumps(update).encode()))

    def push_rpc(self, rpc: Rpc) -> None:
        """Notify of a request."""
        if "rpc" in self.queues:
            self.queues["rpc"].put_nowait((Code.CONTENT, json.dumps(rpc.document()).encode()))
            self.core.delivered(self.device, rpc)


class _Fault(Exception):
    """What the server answers with 5.00."""


def _query(request: Message) -> dict[str, str]:
    return dict(part.partition("=")[::2] for part in map(unquote, request.opt.uri_query))


def _object(body: bytes) -> dict[str, Any]:
    try:
        document = values.document(body)
    except values.Malformed as e:
        raise _Fault(str(e)) from e
    if not isinstance(document, dict):
        raise _Fault("not an object")
    return document


async def serve(api: DeviceApi, host: str, port: int) -> tuple[int, Callable[[], Any]]:
    """Open the port, 0 for one that the system chooses. Returns its number, and what closes it; OSError."""
    os.environ.setdefault("AIOCOAP_REUSE_PORT", "0")  # a taken port is an error, not shared
    logging.getLogger("standin.coap").setLevel(logging.ERROR)  # a board that hung up is no warning
    context = await Context.create_server_context(
        api, bind=(host, port), transports=["simplesocketserver"], loggername="standin.coap"
    )
    messages: Any = context.request_interfaces[0].token_interface
    dispatch = messages.dispatch_message

    def tuned(message: Message) -> None:
        message.transport_tuning = api.tuning
        dispatch(message)

    messages.dispatch_message = tuned
    send = messages.message_interface.send

    def sent(message: Message) -> None:
        for _ in range(2 if getattr(message, "is_doubled", False) else 1):
            send(message)

    messages.message_interface.send = sent
    receive = messages.message_interface._received_datagram  # noqa: SLF001 - the only way round its decoder

    def received(address: Any, datagram: bytes) -> None:
        try:
            receive(address, datagram)
        except UnicodeDecodeError:
            api.core.say("coap", "?", "undecodable datagram")

    messages.message_interface._received_datagram = received
    transport = messages.message_interface._pool._transport  # noqa: SLF001 - aiocoap tells the port nowhere else
    return transport.get_extra_info("sockname")[1], context.shutdown
