"""ThingsBoard's HTTP transport for devices (contract 2.5, 4.6, 5 and 6), on aiohttp."""

from __future__ import annotations

import json
import time
from typing import Any

from aiohttp import web

from . import authentication, provisioning, values
from .core import Core, clock
from .registry import Device


class DeviceApi:
    """The handlers below /api/v1."""

    def __init__(self, core: Core) -> None:
        self.core = core

    def routes(self) -> list[web.RouteDef]:
        """What to add to an aiohttp application."""
        return [
            web.post("/api/v1/provision", self.provision),
            web.post("/api/v1/{token}/telemetry", self.telemetry),
            web.post("/api/v1/{token}/attributes", self.post_attributes),
            web.get("/api/v1/{token}/attributes", self.get_attributes),
            web.post("/api/v1/{token}/rpc", self.rpc),
            web.post("/api/v1/{token}/rpc/{id}", self.rpc_reply),
            web.post("/api/v1/{token}/claim", self.claim),
        ]

    async def provision(self, request: web.Request) -> web.Response:
        """200 for SUCCESS and refusals alike, 500 with a numeric status for what can't be read."""
        body = await request.read()
        if not body:
            return _fault(400, "Required request body is missing", 31)
        try:
            return web.json_response(await self.core.provision("http", body))
        except (provisioning.SyntaxFault, provisioning.MemberFault) as e:
            return _fault(500, str(e), 2)
        except provisioning.CoreFault:
            return web.Response(status=500)

    async def telemetry(self, request: web.Request) -> web.Response:
        """200 empty; 401 wins over every fault of the body."""
        device = self._device(request)
        if device is None:
            return web.Response(status=401)
        body = await request.read()
        if not body:
            return _fault(400, "Required request body is missing", 31)
        try:
            points = values.telemetry(body, clock())
        except values.Malformed as e:
            return web.Response(status=500, text=str(e))
        except values.BadTimestamp:
            return web.Response(status=500)
        if points is None:
            await self.core.sleep(60)
            return web.Response(status=408)
        self.core.telemetry("http", device, points)
        return web.Response()

    async def post_attributes(self, request: web.Request) -> web.Response:
        """Client attributes: 200 empty."""
        device = self._device(request)
        if device is None:
            return web.Response(status=401)
        try:
            self.core.attributes("http", device, values.attributes(await request.read()))
        except values.Malformed as e:
            return web.Response(status=500, text=str(e))
        return web.Response()

    async def get_attributes(self, request: web.Request) -> web.Response:
        """Client and shared attributes by key."""
        device = self._device(request)
        if device is None:
            return web.Response(status=401)
        asked = request.query
        return web.json_response(
            self.core.requested_attributes(device, asked.get("clientKeys"), asked.get("sharedKeys"))
        )

    async def rpc(self, request: web.Request) -> web.Response:
        """Client-side RPC; no rule chain answers here."""
        if self._device(request) is None:
            return web.Response(status=401)
        try:
            document = values.document(await request.read())
        except values.Malformed:
            return web.Response(status=500)
        if not isinstance(document, dict) or not {"method", "params"} <= set(document):
            return web.Response(status=500)
        return web.json_response({"error": "timeout"})

    async def rpc_reply(self, request: web.Request) -> web.Response:
        """The device's reply to a server-side RPC."""
        device = self._device(request)
        if device is None:
            return web.Response(status=401)
        self.core.rpc_reply(device, int(request.match_info["id"]), json.loads(await request.read()))
        return web.Response()

    async def claim(self, request: web.Request) -> web.Response:
        """Only queued: refusals are not reported to the device (contract 8)."""
        return web.Response(status=200 if self._device(request) else 401)

    def _device(self, request: web.Request) -> Device | None:
        device = authentication.by_token(self.core.registry, request.match_info["token"])
        if device is None:
            self.core.say("http", request.match_info["token"][:4] + "...", "401")
        return device


def _fault(status: int, message: str, code: int) -> web.Response:
    document: dict[str, Any] = {"status": status, "message": message, "errorCode": code}
    return web.json_response({**document, "timestamp": int(time.time() * 1000)}, status=status)
