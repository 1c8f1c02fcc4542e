"""ThingsBoard's HTTP transport for devices (contract 2.5, 4.6, 5 to 9), on aiohttp."""

from __future__ import annotations

import asyncio
from typing import Any

from aiohttp import web

from . import authentication, documents, ota, provisioning, values
from .core import ASYNC_LIMIT, Core, Rpc
from .limits import Limited
from .registry import Device, now_ms
from .updates import NoPackage

RPC_MOST = 65536  # bytes of a body below rpc
BODY_MOST = 52428800
POLL = 60000  # ms


class DeviceApi:
    """The handlers below /api/v1."""

    def __init__(self, core: Core) -> None:
        self.core = core

    def routes(self) -> list[web.RouteDef]:
        """What to add to an aiohttp application."""
        token = "/api/v1/{token}"
        return [
            web.post("/api/v1/provision", self.provision),
            web.post(token + "/telemetry", self._guard(self.telemetry)),
            web.post(token + "/attributes", self._guard(self.post_attributes)),
            web.get(token + "/attributes", self._guard(self.get_attributes), allow_head=False),
            web.get(token + "/attributes/updates", self._guard(self.updates), allow_head=False),
            web.get(token + "/rpc", self._guard(self.calls, RPC_MOST), allow_head=False),
            web.post(token + "/rpc", self._guard(self.rpc, RPC_MOST)),
            web.post(token + "/rpc/{id}", self._guard(self.rpc_reply, RPC_MOST)),
            web.post(token + "/claim", self._guard(self.claim)),
            web.get(token + "/firmware", self._guard(self.firmware), allow_head=False),
            web.get(token + "/software", self._guard(self.software), allow_head=False),
        ]

    def _guard(self, handler: Any, most: int = BODY_MOST) -> Any:
        # A body that is too long is refused first, then a bad token; both win over every fault of the body.
        async def guarded(request: web.Request) -> web.StreamResponse:
            if (request.content_length or 0) > most:
                return web.Response(status=413)
            device = authentication.by_token(self.core.registry, request.match_info["token"])
            if device is None:
                self.core.say("http", request.match_info["token"][:4] + "...", "401")
                return web.Response(status=401)
            try:
                return await handler(request, device)
            except (values.WrongContainer, values.BadTimestamp):
                return web.Response(status=500)
            except values.Malformed as e:
                return web.Response(status=500, text=str(e))
            except Limited as e:
                self.core.say("http", device.name, str(e))
                # Posts get an answer, reads hang (contract 10).
                return web.Response(status=500) if request.method == "POST" else await self._hang()

        return guarded

    async def provision(self, request: web.Request) -> web.StreamResponse:
        """200 for SUCCESS and refusals alike, 500 with a numeric status for what can't be read."""
        if (request.content_length or 0) > BODY_MOST:
            return web.Response(status=413)
        body = await request.read()
        if not body:
            return _fault(400, "Required request body is missing", 31)
        try:
            answer = provisioning.as_json(await self.core.provision("http", body))
        except (provisioning.SyntaxFault, provisioning.MemberFault) as e:
            return _fault(500, str(e), 2)
        except provisioning.CoreFault:
            return web.Response(status=500)
        return await self._by_fate("provision", request, answer, "application/json")

    async def telemetry(self, request: web.Request, device: Device) -> web.StreamResponse:
        """200 empty."""
        body = await request.read()
        if not body:
            return _fault(400, "Required request body is missing", 31)
        records = values.telemetry(body, now_ms())
        if records is None:
            return await self._hang()
        self.core.telemetry("http", device, records)
        return await self._by_fate("telemetry", request, b"", "text/plain")

    async def post_attributes(self, request: web.Request, device: Device) -> web.StreamResponse:
        """Client attributes: 200 empty."""
        body = await request.read()
        if not body:
            return _fault(400, "Required request body is missing", 31)
        self.core.attributes("http", device, values.attributes(body))
        return await self._by_fate("telemetry", request, b"", "text/plain")

    async def get_attributes(self, request: web.Request, device: Device) -> web.StreamResponse:
        """Client and shared attributes by key; an empty key hangs."""
        self.core.limits.check(device.id)
        wanted = [values.keys(request.query.get(member) or None) for member in ("clientKeys", "sharedKeys")]
        answer = self.core.requested_attributes(device, *wanted)
        return await self._hang() if answer is None else web.json_response(answer)

    async def updates(self, request: web.Request, device: Device) -> web.StreamResponse:
        """Long poll for a change of shared attributes."""
        return await self._poll(request, device, for_calls=False)

    async def calls(self, request: web.Request, device: Device) -> web.StreamResponse:
        """Long poll for a server-side RPC request."""
        return await self._poll(request, device, for_calls=True)

    async def rpc(self, request: web.Request, device: Device) -> web.StreamResponse:
        """Client-side RPC; the single-process server gives up before its rule chains do."""
        document = values.document(await request.read())
        if not isinstance(document, dict) or "params" not in document:
            return web.Response(status=500)
        method = values.text(document, "method")
        if method is None:
            return web.Response(status=500)
        self.core.limits.check(device.id)
        try:
            answer = self.core.device_call(method, values.plain(document["params"]))
            return web.json_response(await asyncio.wait_for(answer, ASYNC_LIMIT * self.core.scale))
        except asyncio.TimeoutError:
            return web.Response(status=503)

    async def rpc_reply(self, request: web.Request, device: Device) -> web.StreamResponse:
        """The device's reply to a server-side RPC."""
        number, body = request.match_info["id"], await request.read()
        if not number.isdecimal():
            return _fault(400, f"not a number: {number}", 31)
        self.core.limits.check(device.id)
        self.core.rpc_reply(device, int(number), values.json_or_text(body))
        return web.Response()

    async def claim(self, request: web.Request, device: Device) -> web.StreamResponse:
        """Only queued: refusals are not reported to the device (contract 8)."""
        self.core.limits.check(device.id)
        self.core.claim(device, await request.read())
        return web.Response()

    async def firmware(self, request: web.Request, device: Device) -> web.StreamResponse:
        """A chunk of the device's firmware, or the whole of it."""
        return self._package(request, device, ota.FIRMWARE)

    async def software(self, request: web.Request, device: Device) -> web.StreamResponse:
        """A chunk of the device's software, or the whole of it."""
        return self._package(request, device, ota.SOFTWARE)

    def _package(self, request: web.Request, device: Device, kind: str) -> web.StreamResponse:
        query = request.query
        for name in ("title", "version"):
            if name not in query:
                return _fault(400, f"Required request parameter '{name}' is not present", 31)
        try:
            size, number = (ota.integer(query.get(name) or "0") for name in ("size", "chunk"))
        except ValueError as e:
            return _fault(400, str(e), 31)
        try:
            package = self.core.updates.wanted(device, kind)
        except NoPackage:
            return web.Response(status=404)
        except Limited as e:
            self.core.say("http", device.name, str(e))
            return web.Response(status=500)  # this read has an answer
        if (query["title"], query["version"]) != (package.title, package.version):
            return web.Response(status=400)
        self.core.updates.tell_start("http", device, package, number)
        return documents.package_file(package, self.core.updates.chunk(package.id, size, number))

    async def _poll(self, request: web.Request, device: Device, for_calls: bool) -> web.StreamResponse:
        self.core.limits.check(device.id)
        asked = request.query.get("timeout", str(POLL))
        if not asked.isdecimal():
            return _fault(400, f"not a number: {asked}", 31)
        seconds = (int(asked) or POLL) / 1000
        poll = Poll(self.core, device, for_calls)
        polls = self.core.polls.setdefault(device.id, [])
        polls.append(poll)
        # The poll stays registered until its own time-out, and what comes then is lost (contract 7).
        asyncio.get_running_loop().call_later(seconds, _drop, polls, poll)
        if for_calls:
            for rpc in self.core.pending(device):
                poll.push_rpc(rpc)
        limit = ASYNC_LIMIT * self.core.scale
        try:
            answer = await asyncio.wait_for(asyncio.shield(poll.answer), min(seconds, limit))
        except asyncio.TimeoutError:
            return web.Response(status=408 if seconds <= limit else 503)
        _drop(polls, poll)
        return web.json_response(answer)

    async def _hang(self) -> web.StreamResponse:
        await self.core.sleep(ASYNC_LIMIT)
        return web.Response(status=503)

    async def _by_fate(self, step: str, request: web.Request, body: bytes, kind: str) -> web.StreamResponse:
        fate = self.core.fate(step, "http", "?")
        if fate and fate.kind == "delay":
            await asyncio.sleep(fate.seconds)
        if fate and fate.kind == "replace":
            body = fate.body
        answer = web.Response(body=body, content_type=kind)
        if fate and fate.kind in ("drop", "ack", "restart", "close"):
            while request.transport and not request.transport.is_closing() and fate.kind != "close":
                await asyncio.sleep(0.02)
            if request.transport:
                request.transport.abort()
        elif fate and fate.kind == "double":
            await answer.prepare(request)
            await answer.write_eof()
            if request.transport:
                request.transport.write(f"HTTP/1.1 200 OK\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body)
        return answer


class Poll:
    """One HTTP long poll, to the core a listener that hears one thing."""

    def __init__(self, core: Core, device: Device, for_calls: bool) -> None:
        self.core = core
        self.device = device
        self.for_calls = for_calls
        self.answer: asyncio.Future[Any] = asyncio.get_running_loop().create_future()

    def close(self, why: str) -> None:
        """Polls outlive sessions."""

    def push_shared(self, update: dict[str, Any]) -> None:
        """The answer of a poll for updates."""
        if not self.for_calls and not self.answer.done():
            self.answer.set_result(update)

    def push_rpc(self, rpc: Rpc) -> None:
        """The answer of a poll for requests."""
        if self.for_calls and not self.answer.done():
            self.answer.set_result(rpc.document())
            self.core.delivered(self.device, rpc)


def _drop(polls: list[Any], poll: Poll) -> None:
    if poll in polls:
        polls.remove(poll)


def _fault(status: int, message: str, code: int) -> web.Response:
    document: dict[str, Any] = {"status": status, "message": message, "errorCode": code}
    return web.json_response({**document, "timestamp": now_ms()}, status=status)
