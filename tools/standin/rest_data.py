"""The REST face's other half: telemetry, attributes, RPC and claiming."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import Any

from aiohttp import web

from . import documents, values
from .core import RPC_LEAST, RPC_TIMEOUT, Core, RpcError
from .registry import Device, now_ms

SCOPES = ("CLIENT_SCOPE", "SHARED_SCOPE", "SERVER_SCOPE")


class DataRest:
    """Handlers for what devices send and get. `found` is the device of a request."""

    def __init__(self, core: Core, found: Callable[[web.Request], Device]) -> None:
        self.core = core
        self.registry = core.registry
        self._device = found

    def routes(self) -> list[web.RouteDef]:
        """The routes for users who are signed in."""
        entity = "/api/plugins/telemetry/DEVICE/{id}"
        device = "/api/plugins/telemetry/{id}"
        scope = "{scope:[A-Z]+_SCOPE}"
        return [
            web.get(entity + "/values/timeseries", self.timeseries),
            web.get(entity + "/values/timeseries/history", self.timeseries),
            web.get(entity + "/values/attributes", self.get_attributes),
            web.get(entity + "/values/attributes/{scope}", self.get_attributes),
            web.get(entity + "/keys/timeseries", self.timeseries_keys),
            web.get(entity + "/keys/attributes", self.attribute_keys),
            web.get(entity + "/keys/attributes/{scope}", self.attribute_keys),
            web.post(entity + "/timeseries/{any}", self.save_telemetry),
            web.post(entity + "/timeseries/{any}/{ttl}", self.save_telemetry),
            web.delete(entity + "/timeseries/delete", self.delete_telemetry),
            web.post(f"{entity}/{scope}", self.save_attributes),
            web.post(f"{entity}/attributes/{scope}", self.save_attributes),
            web.post(f"{device}/{scope}", self.save_attributes),
            web.delete(f"{entity}/{scope}", self.delete_attributes),
            web.delete(f"{device}/{scope}", self.delete_attributes),
            *(
                web.post(f"/api/{plugins}rpc/{way}/{{id}}", handler)
                for plugins in ("", "plugins/")
                for way, handler in (("oneway", self.rpc_oneway), ("twoway", self.rpc_twoway))
            ),
            web.post("/api/customer/device/{name}/claim", self.claim),
        ]

    async def timeseries(self, request: web.Request) -> web.Response:
        """Latest values; with startTs and endTs the points between."""
        wanted, query = _keys(request), request.query
        between = "startTs" in query and "endTs" in query
        most = int(query.get("limit", "100")) if between else 1
        answer: dict[str, list[dict[str, Any]]] = {}
        for name, ts, value in self.registry.series(self._device(request).id):
            if wanted and name not in wanted or between and not int(query["startTs"]) <= ts < int(query["endTs"]):
                continue
            is_strict = query.get("useStrictDataTypes", "").lower() == "true" or isinstance(value, str)
            answer.setdefault(name, []).append({"ts": ts, "value": value if is_strict else json.dumps(value)})
        if not between:
            for name in wanted or ():
                answer.setdefault(name, [{"ts": now_ms(), "value": None}])
        for points in answer.values():
            points.sort(key=lambda point: point["ts"], reverse=not (between and query.get("orderBy") == "ASC"))
        return web.json_response({name: points[:most] for name, points in answer.items()})

    async def timeseries_keys(self, request: web.Request) -> web.Response:
        """The names of a device's telemetry."""
        return web.json_response(sorted({name for name, _, _ in self.registry.series(self._device(request).id)}))

    async def save_telemetry(self, request: web.Request) -> web.Response:
        """Store telemetry as the device would."""
        device = self._device(request)
        try:
            records = values.telemetry(await request.read(), now_ms())
        except (values.Malformed, values.BadTimestamp) as e:
            return documents.error(400, str(e), 31)
        for record in records or ():
            self.registry.add_series(device.id, record)
        return web.Response()

    async def delete_telemetry(self, request: web.Request) -> web.Response:
        """?keys=a,b&deleteAllDataForKeys=true"""
        if request.query.get("deleteAllDataForKeys", "").lower() != "true":
            return documents.error(400, "only deleteAllDataForKeys=true is supported here", 31)
        self.registry.delete_series(self._device(request).id, _keys(request))
        return web.Response()

    async def get_attributes(self, request: web.Request) -> web.Response:
        """Attributes of one scope or of all, as a list of {key, value, lastUpdateTs}."""
        wanted = _keys(request)
        return web.json_response(
            [
                {"key": key, "value": value, "lastUpdateTs": ts}
                for scope in self._scopes(request)
                for key, value, ts in self.registry.attribute_entries(self._device(request).id, scope)
                if not wanted or key in wanted
            ]
        )

    async def attribute_keys(self, request: web.Request) -> web.Response:
        """The names of a device's attributes."""
        device = self._device(request)
        return web.json_response([k for s in self._scopes(request) for k in self.registry.attributes(device.id, s)])

    async def save_attributes(self, request: web.Request) -> web.Response:
        """Shared or server attributes; shared ones are pushed."""
        device, scope = self._device(request), self._scopes(request)[0]
        try:
            given = values.attributes(await request.read())
        except values.Malformed as e:
            return documents.error(400, str(e), 31)
        if scope == "SHARED_SCOPE":
            self.core.set_shared(device, given)
        else:
            self.registry.set_attributes(device.id, scope, given)
        return web.Response()

    async def delete_attributes(self, request: web.Request) -> web.Response:
        """?keys=a,b: remove them."""
        device, scope = self._device(request), self._scopes(request)[0]
        if scope == "SHARED_SCOPE":
            self.core.delete_shared(device, _keys(request))
        else:
            self.registry.delete_attributes(device.id, scope, _keys(request))
        return web.Response()

    async def rpc_oneway(self, request: web.Request) -> web.Response:
        """Send an RPC request; done when the device has got it."""
        return await self._rpc(request, oneway=True)

    async def rpc_twoway(self, request: web.Request) -> web.Response:
        """Send an RPC request and wait for the reply."""
        return await self._rpc(request, oneway=False)

    async def _rpc(self, request: web.Request, oneway: bool) -> web.Response:
        document, device = await request.json(), self._device(request)
        # At least 5 s, scaled as the server's other waits; 409 when the device never got it, 504 when it did.
        seconds = max(RPC_LEAST, document.get("timeout", RPC_TIMEOUT * 1000) / 1000) * self.core.scale
        rpc = self.core.rpc(device, document["method"], document.get("params"), seconds, oneway)
        try:
            reply = await rpc.reply
        except RpcError as e:
            return web.Response(status=504 if e.was_sent else 409)
        return web.Response() if oneway else web.json_response(reply)

    async def claim(self, request: web.Request) -> web.Response:
        """A user claims a device by name, with the device's secret."""
        device = self.registry.device(name=request.match_info["name"], tenant=documents.TENANT)
        if device is None:
            return documents.error(404, "Device not found", 32)
        body = await request.read()
        secret = (json.loads(body) if body else {}).get("secretKey") or ""
        claim = self.core.claims.pop(device.id, None)  # a failed attempt forgets it too
        if device.id in self.core.owned:
            return web.json_response({"response": "CLAIMED"}, status=400)
        if claim and claim.secret == secret and min(claim.until, claim.evicted) > time.time():
            self.core.owned.add(device.id)
            return web.json_response({"response": "SUCCESS"})
        return web.json_response({"response": "FAILURE"}, status=400)

    def _scopes(self, request: web.Request) -> tuple[str, ...]:
        scope = request.match_info.get("scope")
        if scope and scope not in SCOPES:
            raise ValueError(f"Invalid attributes scope {scope}")
        return (scope,) if scope else SCOPES


def _keys(request: web.Request) -> list[str]:
    # Newer clients repeat ?key=, older ones give ?keys=a,b.
    listed = request.query.get("keys", "")
    return [*(listed.split(",") if listed else []), *request.query.getall("key", [])]
