"""A small REST face with ThingsBoard's own paths: what tools and tests need to administer the stand-in."""

from __future__ import annotations

import base64
import json
from typing import Any

from aiohttp import web

from .bulk import bulk_import
from .core import RPC_LEAST, RPC_TIMEOUT, Core, RpcError
from .registry import (
    Credentials,
    Device,
    Profile,
    RegistryError,
    access_token,
    mqtt_basic,
    new_id,
    random_text,
    x509_certificate,
)

USER = "tenant@thingsboard.org"
PASSWORD = "tenant"
TENANT = "T1"


class Rest:
    """The handlers below /api for a tenant administrator."""

    def __init__(self, core: Core) -> None:
        self.core = core
        self.registry = core.registry
        self._token = _jwt()

    def routes(self) -> list[web.RouteDef]:
        """What to add to an aiohttp application."""
        device = "/api/device/{id}"
        telemetry = "/api/plugins/telemetry/DEVICE/{id}"
        signed_in = [
            web.get("/api/auth/user", self.user),
            web.post("/api/deviceProfile", self.save_profile),
            web.get("/api/deviceProfile/{id}", self.get_profile),
            web.get("/api/deviceProfiles", self.list_profiles),
            web.get("/api/deviceProfileInfos", self.list_profiles),
            web.post("/api/device", self.save_device),
            web.post("/api/device/bulk_import", self.bulk_import),
            web.get(device, self.get_device),
            web.delete(device, self.delete_device),
            web.get("/api/tenant/devices", self.list_devices),
            web.get(device + "/credentials", self.get_credentials),
            web.post("/api/device/credentials", self.save_credentials),
            web.get(telemetry + "/values/timeseries", self.timeseries),
            web.get(telemetry + "/values/attributes", self.get_attributes),
            web.get(telemetry + "/values/attributes/{scope}", self.get_attributes),
            web.post(telemetry + "/{scope}", self.save_attributes),
            web.post(telemetry + "/attributes/{scope}", self.save_attributes),
            web.delete(telemetry + "/{scope}", self.delete_attributes),
            web.post("/api/rpc/oneway/{id}", self.rpc_oneway),
            web.post("/api/rpc/twoway/{id}", self.rpc_twoway),
        ]
        guarded = [web.route(r.method, r.path, self._guard(r.handler)) for r in signed_in]
        return [web.post("/api/auth/login", self.login), *guarded]

    def _guard(self, handler: Any) -> Any:
        async def guarded(request: web.Request) -> web.StreamResponse:
            if request.headers.get("X-Authorization", request.headers.get("Authorization")) != f"Bearer {self._token}":
                return _error(401, "Authentication failed", 10)
            try:
                return await handler(request)
            except RegistryError as e:
                return _error(400, str(e), 31)
            except (KeyError, ValueError, TypeError) as e:
                return _error(400, f"bad request: {e!r}", 31)

        return guarded

    async def login(self, request: web.Request) -> web.Response:
        """POST {username, password} -> {token, refreshToken}."""
        document = await request.json()
        if (document.get("username"), document.get("password")) != (USER, PASSWORD):
            return _error(401, "Invalid username or password", 10)
        return web.json_response({"token": self._token, "refreshToken": self._token})

    async def user(self, request: web.Request) -> web.Response:
        """The user who is signed in."""
        return web.json_response(
            {
                "id": {"entityType": "USER", "id": new_id()},
                "tenantId": {"entityType": "TENANT", "id": TENANT},
                "email": USER,
                "authority": "TENANT_ADMIN",
            }
        )

    async def save_profile(self, request: web.Request) -> web.Response:
        """Create or change a device profile, with its provisioning strategy."""
        document = await request.json()
        configuration = (document.get("profileData") or {}).get("provisionConfiguration") or {}
        profile = Profile(
            (document.get("id") or {}).get("id") or new_id(),
            TENANT,
            document["name"],
            configuration.get("type") or document.get("provisionType") or "DISABLED",
            document.get("provisionDeviceKey"),
            configuration.get("provisionDeviceSecret"),
            configuration.get("certificateRegExPattern"),
            bool(configuration.get("allowCreateNewDevicesByX509Certificate")),
        )
        named = self.registry.profile(name=profile.name)
        if named and named.id != profile.id:
            raise RegistryError("Device profile with such name already exists!")
        return web.json_response(_profile(self.registry.add_profile(profile)))

    async def get_profile(self, request: web.Request) -> web.Response:
        """One profile by id."""
        profile = self.registry.profile(id=request.match_info["id"])
        return web.json_response(_profile(profile)) if profile else _error(404, "Device profile not found", 32)

    async def list_profiles(self, request: web.Request) -> web.Response:
        """A page of profiles."""
        text = request.query.get("textSearch", "").lower()
        found = [p for p in self.registry.profiles() if p.tenant == TENANT and text in p.name.lower()]
        return _page(request, [_profile(p) for p in found])

    async def save_device(self, request: web.Request) -> web.Response:
        """Create a device; ?accessToken= names its token."""
        document = await request.json()
        profile = (document.get("deviceProfileId") or {}).get("id")
        if profile is None:
            named = self.registry.profile(name=document.get("type", "default"))
            profile = named.id if named else "default"
        gateway = bool((document.get("additionalInfo") or {}).get("gateway"))
        token = access_token(request.query.get("accessToken") or random_text())
        device = Device(new_id(), TENANT, profile, document["name"], token, gateway)
        return web.json_response(_device(self.registry.add_device(device)))

    async def bulk_import(self, request: web.Request) -> web.Response:
        """Create and change many devices from a CSV."""
        return web.json_response(bulk_import(self.core, await request.json()))

    async def get_device(self, request: web.Request) -> web.Response:
        """One device by id."""
        return web.json_response(_device(self._device(request)))

    async def delete_device(self, request: web.Request) -> web.Response:
        """Delete a device; its session ends."""
        self.core.delete_device(self._device(request))
        return web.Response()

    async def list_devices(self, request: web.Request) -> web.Response:
        """?deviceName=: that device; else a page of them."""
        name = request.query.get("deviceName")
        if name is not None:
            device = self.registry.device(name=name, tenant=TENANT)
            return web.json_response(_device(device)) if device else _error(404, "Device not found", 32)
        text = request.query.get("textSearch", "").lower()
        found = [d for d in self.registry.devices() if d.tenant == TENANT and text in d.name.lower()]
        return _page(request, [_device(d) for d in found])

    async def get_credentials(self, request: web.Request) -> web.Response:
        """A device's credentials."""
        return web.json_response(_credentials(self._device(request)))

    async def save_credentials(self, request: web.Request) -> web.Response:
        """Change a device's credentials; its session ends."""
        document = await request.json()
        device = self.registry.device_by_id(document["deviceId"]["id"])
        if device is None:
            return _error(404, "Device not found", 32)
        self.core.set_credentials(device, _given_credentials(document))
        return web.json_response(_credentials(self._device(request, device.id)))

    async def timeseries(self, request: web.Request) -> web.Response:
        """Latest values; with startTs and endTs the points between."""
        wanted = request.query.get("keys")
        start, end = request.query.get("startTs"), request.query.get("endTs")
        limit = int(request.query.get("limit", "100"))
        answer: dict[str, list[dict[str, Any]]] = {}
        for name, ts, value in self.registry.series(self._device(request).id):
            if wanted is not None and name not in wanted.split(","):
                continue
            if start and end and not int(start) <= ts < int(end):
                continue
            shown = value if isinstance(value, str) else json.dumps(value)
            answer.setdefault(name, []).insert(0, {"ts": ts, "value": shown})
        most = limit if start and end else 1
        return web.json_response({k: sorted(v, key=lambda p: -p["ts"])[:most] for k, v in answer.items()})

    async def get_attributes(self, request: web.Request) -> web.Response:
        """Attributes of one scope or of all, as a list of {key, value, lastUpdateTs}."""
        device, scope = self._device(request), request.match_info.get("scope")
        wanted = request.query.get("keys")
        scopes = (scope,) if scope else ("CLIENT_SCOPE", "SHARED_SCOPE", "SERVER_SCOPE")
        found = []
        for one in scopes:
            for key, value in self.registry.attributes(device.id, one).items():
                if wanted is None or key in wanted.split(","):
                    found.append({"key": key, "value": value, "lastUpdateTs": device.created})
        return web.json_response(found)

    async def save_attributes(self, request: web.Request) -> web.Response:
        """Shared or server attributes; shared ones are pushed."""
        device, scope, document = self._device(request), request.match_info["scope"], await request.json()
        if scope == "SHARED_SCOPE":
            self.core.set_shared(device, document)
        else:
            self.registry.set_attributes(device.id, scope, document)
        return web.Response()

    async def delete_attributes(self, request: web.Request) -> web.Response:
        """?keys=a,b: remove them."""
        device, scope, names = self._device(request), request.match_info["scope"], request.query["keys"].split(",")
        if scope == "SHARED_SCOPE":
            self.core.delete_shared(device, names)
        else:
            self.registry.delete_attributes(device.id, scope, names)
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

    def _device(self, request: web.Request, device_id: str | None = None) -> Device:
        device = self.registry.device_by_id(device_id or request.match_info["id"])
        if device is None:
            raise web.HTTPNotFound(text=json.dumps({"status": 404, "message": "Device not found", "errorCode": 32}))
        return device


def _jwt() -> str:
    # Clients look into the token for its user and expiry; nobody checks the signature here.
    def part(document: dict[str, Any]) -> str:
        return base64.urlsafe_b64encode(json.dumps(document).encode()).decode().rstrip("=")

    claims = {"sub": USER, "scopes": ["TENANT_ADMIN"], "userId": new_id(), "tenantId": TENANT, "exp": 4102444800}
    return f"{part({'alg': 'HS512'})}.{part(claims)}.{random_text(40)}"


def _error(status: int, message: str, code: int) -> web.Response:
    return web.json_response({"status": status, "message": message, "errorCode": code}, status=status)


def _page(request: web.Request, rows: list[Any]) -> web.Response:
    size, page = int(request.query.get("pageSize", "10")), int(request.query.get("page", "0"))
    part = rows[page * size : (page + 1) * size]
    pages = -(-len(rows) // size)
    return web.json_response(
        {"data": part, "totalPages": pages, "totalElements": len(rows), "hasNext": page + 1 < pages}
    )


def _profile(p: Profile) -> dict[str, Any]:
    configuration: dict[str, Any] = {"type": p.strategy, "provisionDeviceSecret": p.secret}
    if p.pattern is not None:
        configuration["certificateRegExPattern"] = p.pattern
        configuration["allowCreateNewDevicesByX509Certificate"] = p.allow_create
    return {
        "id": {"entityType": "DEVICE_PROFILE", "id": p.id},
        "tenantId": {"entityType": "TENANT", "id": p.tenant},
        "name": p.name,
        "type": "DEFAULT",
        "transportType": "DEFAULT",
        "provisionType": p.strategy,
        "provisionDeviceKey": p.key,
        "default": False,
        "profileData": {
            "configuration": {"type": "DEFAULT"},
            "transportConfiguration": {"type": "DEFAULT"},
            "provisionConfiguration": configuration,
        },
    }


def _device(d: Device) -> dict[str, Any]:
    return {
        "id": {"entityType": "DEVICE", "id": d.id},
        "createdTime": d.created,
        "tenantId": {"entityType": "TENANT", "id": d.tenant},
        "name": d.name,
        "type": "default",
        "deviceProfileId": {"entityType": "DEVICE_PROFILE", "id": d.profile},
        "additionalInfo": {"gateway": d.gateway},
    }


def _credentials(d: Device) -> dict[str, Any]:
    value = d.credentials.value
    return {
        "deviceId": {"entityType": "DEVICE", "id": d.id},
        "credentialsType": d.credentials.type,
        "credentialsId": d.credentials.id,
        "credentialsValue": json.dumps(value) if isinstance(value, dict) else value,
    }


def _given_credentials(document: dict[str, Any]) -> Credentials:
    kind, value = document["credentialsType"], document.get("credentialsValue") or ""
    if kind == "ACCESS_TOKEN":
        return access_token(document["credentialsId"])
    if kind == "X509_CERTIFICATE":
        return x509_certificate(value)
    basic = json.loads(value) if isinstance(value, str) else value
    return mqtt_basic(basic.get("clientId"), basic.get("userName"), basic.get("password"))
