"""ThingsBoard's CoAP transport for devices (contract 2.5, 4.1, 4.6, 5 and 6), on aiocoap."""

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
from aiocoap.resource import Resource

from . import authentication, provisioning, values
from .core import Core, clock
from .registry import Device

PROTOBUF_NOT_FOUND = b"\x08\x02"
_PIGGYBACK = 0.5  # seconds; a later answer comes separately, after an empty ACK
_SILENT = 26  # RFC 7967: nothing but that empty ACK


class DeviceApi(Resource):
    """Everything below /api/v1. `delay` seconds pass before each answer, so that it comes separately."""

    def __init__(self, core: Core) -> None:
        super().__init__()
        self.core = core
        self.delay = 0.0
        self.tuning = TransportTuning()
        self.tuning.EMPTY_ACK_DELAY = _PIGGYBACK * core.scale
        self.tuning.ACK_TIMEOUT *= core.scale

    async def render_post(self, request: Message) -> Message:
        """Provisioning, telemetry and client attributes."""
        match request.opt.uri_path:
            case ("api", "v1", "provision") | ("api", "v1", _, "provision"):
                return await self._answer(*await self._provision(request.payload))
            case ("api", "v1", token, "telemetry"):
                return await self._answer(self._telemetry(token, request.payload))
            case ("api", "v1", token, "attributes"):
                return await self._answer(self._post_attributes(token, request.payload))
        return await self._answer(Code.NOT_FOUND)

    async def render_get(self, request: Message) -> Message:
        """Client and shared attributes by key."""
        match request.opt.uri_path:
            case ("api", "v1", token, "attributes"):
                asked = dict(part.partition("=")[::2] for part in map(unquote, request.opt.uri_query))
                return await self._answer(*self._get_attributes(token, asked))
        return await self._answer(Code.NOT_FOUND)

    async def _answer(self, code: Code | None, body: bytes = b"") -> Message:
        await asyncio.sleep(self.delay)
        if code is None:
            return Message(code=Code.CONTENT, no_response=_SILENT)
        return Message(code=code, payload=body, transport_tuning=self.tuning)

    async def _provision(self, body: bytes) -> tuple[Code, bytes]:
        if not body:
            self.core.say("coap", "?", "empty provisioning request")
            return Code.BAD_REQUEST, PROTOBUF_NOT_FOUND
        try:
            answer = await self.core.provision("coap", body)
        except (provisioning.SyntaxFault, provisioning.MemberFault):
            return Code.BAD_REQUEST, b""
        except provisioning.CoreFault:
            return Code.INTERNAL_SERVER_ERROR, b""
        is_granted = answer["status"] == "SUCCESS"
        return Code.CREATED if is_granted else Code.BAD_REQUEST, provisioning.as_json(answer)

    def _telemetry(self, token: str, body: bytes) -> Code | None:
        device = self._device(token)
        if device is None:
            return Code.UNAUTHORIZED
        try:
            points = values.telemetry(body, clock())
        except values.Malformed:
            return Code.BAD_REQUEST
        except values.BadTimestamp:
            return Code.INTERNAL_SERVER_ERROR
        if points is None:
            return None
        self.core.telemetry("coap", device, points)
        return Code.CREATED

    def _post_attributes(self, token: str, body: bytes) -> Code:
        device = self._device(token)
        if device is None:
            return Code.UNAUTHORIZED
        try:
            self.core.attributes("coap", device, values.attributes(body))
        except values.Malformed:
            return Code.BAD_REQUEST
        return Code.CREATED

    def _get_attributes(self, token: str, asked: dict[str, str]) -> tuple[Code | None, bytes]:
        device = self._device(token)
        if device is None:
            return Code.UNAUTHORIZED, b""
        client, shared = asked.get("clientKeys"), asked.get("sharedKeys")
        if any("" in keys.split(",") for keys in (client, shared) if keys):
            return None, b""
        found = self.core.requested_attributes(device, client, shared)
        return (Code.CONTENT, json.dumps(found).encode()) if found else (Code.NOT_FOUND, b"")

    def _device(self, token: str) -> Device | None:
        device = authentication.by_token(self.core.registry, token)
        if device is None:
            self.core.say("coap", token[:4] + "...", "4.01")
        return device


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
    transport = messages.message_interface._pool._transport  # noqa: SLF001 - aiocoap tells the port nowhere else
    return transport.get_extra_info("sockname")[1], context.shutdown
