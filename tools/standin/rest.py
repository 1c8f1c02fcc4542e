"""A small REST face with ThingsBoard's own paths: who is signed in, profiles, devices and their credentials."""

from __future__ import annotations

import base64
import json
from dataclasses import replace
from typing import Any

from aiohttp import web

from . import documents
from .bulk import bulk_import
from .core import Core
from .ota_rest import OtaRest
from .provisioning import DISABLED, X509_CHAIN
from .registry import (
    Device,
    Profile,
    RegistryError,
    access_token,
    first_certificate,
    new_id,
    normalised,
    random_text,
    sha3,
)
from .rest_data import DataRest

USER = "tenant@thingsboard.org"
PASSWORD = "tenant"
API_KEY = "standin-api-key"
TENANT = documents.TENANT


class Rest:
    """The handlers below /api for a tenant administrator."""

    def __init__(self, core: Core) -> None:
        self.core = core
        self.registry = core.registry
        self._token = _jwt()

    def routes(self) -> list[web.RouteDef]:
        """What to add to an aiohttp application."""
        device = "/api/device/{id}"
        signed_in = [
            web.get("/api/auth/user", self.user),
            web.post("/api/auth/logout", self.logout),
            web.post("/api/deviceProfile", self.save_profile),
            web.get("/api/deviceProfile/names", self.profile_names),
            web.get("/api/deviceProfile/{id}", self.get_profile),
            web.delete("/api/deviceProfile/{id}", self.delete_profile),
            web.get("/api/deviceProfiles", self.list_profiles),
            web.get("/api/deviceProfileInfos", self.list_profiles),
            web.get("/api/deviceProfileInfo/default", self.default_profile),
            web.get("/api/deviceProfileInfo/{id}", self.get_profile),
            web.post("/api/device", self.save_device),
            web.post("/api/device-with-credentials", self.save_device_with_credentials),
            web.post("/api/device/bulk_import", self.bulk_import),
            web.post("/api/device/credentials", self.save_credentials),
            web.get("/api/device/types", self.device_types),
            web.get("/api/device/info/{id}", self.get_device),
            web.get(device, self.get_device),
            web.delete(device, self.delete_device),
            web.get(device + "/credentials", self.get_credentials),
            web.get("/api/devices", self.devices_by_id),
            web.get("/api/tenant/device", self.device_by_name),
            web.get("/api/tenant/devices", self.list_devices),
            web.get("/api/tenant/deviceInfos", self.list_devices),
            web.get("/api/deviceInfos/all", self.list_devices),
            *DataRest(self.core, self.found).routes(),
            *OtaRest(self.core).routes(),
        ]
        guarded = [web.route(r.method, r.path, self._guard(r.handler)) for r in signed_in]
        return [web.post("/api/auth/login", self.login), web.post("/api/auth/token", self.refresh), *guarded]

    def _guard(self, handler: Any) -> Any:
        async def guarded(request: web.Request) -> web.StreamResponse:
            given = request.headers.get("X-Authorization", request.headers.get("Authorization"))
            if given not in (f"Bearer {self._token}", f"ApiKey {API_KEY}"):
                return documents.error(401, "Authentication failed", 10)
            try:
                return await handler(request)
            except RegistryError as e:
                return documents.error(400, str(e), 31)
            except (KeyError, ValueError, TypeError, AttributeError) as e:
                return documents.error(400, f"bad request: {e!r}", 31)

        return guarded

    async def login(self, request: web.Request) -> web.Response:
        """POST {username, password} -> {token, refreshToken}."""
        document = await _posted(request)
        if (document.get("username"), document.get("password")) != (USER, PASSWORD):
            return documents.error(401, "Invalid username or password", 10)
        return web.json_response({"token": self._token, "refreshToken": self._token})

    async def refresh(self, request: web.Request) -> web.Response:
        """POST {refreshToken} -> {token, refreshToken}."""
        if (await _posted(request)).get("refreshToken") != self._token:
            return documents.error(401, "Authentication failed", 10)
        return web.json_response({"token": self._token, "refreshToken": self._token})

    async def user(self, request: web.Request) -> web.Response:
        """The user who is signed in."""
        return web.json_response(
            {
                "id": {"entityType": "USER", "id": new_id()},
                "tenantId": {"entityType": "TENANT", "id": TENANT},
                "email": USER,
                "name": USER,
                "authority": "TENANT_ADMIN",
            }
        )

    async def logout(self, request: web.Request) -> web.Response:
        """Sign out; the token stays good, as there is one user only."""
        return web.Response()

    # Device profiles

    async def save_profile(self, request: web.Request) -> web.Response:
        """Create or change a device profile, with its provisioning strategy."""
        document = await request.json()
        configuration = (document.get("profileData") or {}).get("provisionConfiguration") or {}
        strategy = configuration.get("type") or document.get("provisionType") or DISABLED
        key, secret = document.get("provisionDeviceKey"), configuration.get("provisionDeviceSecret")
        if strategy == X509_CHAIN:
            key = sha3(normalised(first_certificate(secret or "")))
        profile = Profile(
            (document.get("id") or {}).get("id") or new_id(),
            TENANT,
            document["name"],
            strategy,
            key,
            secret,
            configuration.get("certificateRegExPattern"),
            bool(configuration.get("allowCreateNewDevicesByX509Certificate")),
            {name: document[name] for name in documents.PROFILE_EXTRAS if document.get(name) is not None},
        )
        named = self.registry.profile(name=profile.name)
        if named and named.id != profile.id:
            raise RegistryError("Device profile with such name already exists!")
        saved = self.core.updates.save_profile(profile, documents.given_packages(document))
        return web.json_response(self._profile_document(saved))

    async def get_profile(self, request: web.Request) -> web.Response:
        """One profile by id."""
        return web.json_response(self._profile_document(self._profile(request)))

    async def delete_profile(self, request: web.Request) -> web.Response:
        """Remove a profile that no device uses."""
        self.registry.delete_profile(self._profile(request).id)
        return web.Response()

    async def default_profile(self, request: web.Request) -> web.Response:
        """The profile of devices that name none."""
        return web.json_response(self._profile_document(self.registry.profile_named("default", TENANT)))

    async def list_profiles(self, request: web.Request) -> web.Response:
        """A page of profiles."""
        text = request.query.get("textSearch", "").lower()
        found = [p for p in self.registry.profiles() if p.tenant == TENANT and text in p.name.lower()]
        return documents.page(request, [self._profile_document(p) for p in found])

    async def profile_names(self, request: web.Request) -> web.Response:
        """Ids and names of all profiles."""
        found = [self._profile_document(p) for p in self.registry.profiles() if p.tenant == TENANT]
        return web.json_response([{"id": p["id"], "name": p["name"]} for p in found])

    # Devices

    async def save_device(self, request: web.Request) -> web.Response:
        """Create or change a device; ?accessToken= names the token of a new one."""
        token = access_token(request.query.get("accessToken") or random_text())
        return self._shown(self._saved(await request.json(), token))

    async def save_device_with_credentials(self, request: web.Request) -> web.Response:
        """Create or change a device and its credentials together."""
        document = await request.json()
        given = documents.given_credentials(document["credentials"])
        device = self._saved(document["device"], given)
        if device.credentials != given:
            self.core.set_credentials(device, given)
        return self._shown(device)

    async def bulk_import(self, request: web.Request) -> web.Response:
        """Create and change many devices from a CSV."""
        return web.json_response(bulk_import(self.core, await request.json()))

    async def get_device(self, request: web.Request) -> web.Response:
        """One device by id."""
        return self._shown(self.found(request))

    async def delete_device(self, request: web.Request) -> web.Response:
        """Delete a device; its session ends."""
        self.core.delete_device(self.found(request))
        return web.Response()

    async def device_by_name(self, request: web.Request) -> web.Response:
        """?deviceName="""
        device = self.registry.device(name=request.query["deviceName"], tenant=TENANT)
        return self._shown(device) if device else documents.error(404, "Device not found", 32)

    async def devices_by_id(self, request: web.Request) -> web.Response:
        """?deviceIds=a,b"""
        found = [self.registry.device_by_id(one) for one in request.query["deviceIds"].split(",")]
        return web.json_response([self._device_document(d) for d in found if d])

    async def list_devices(self, request: web.Request) -> web.Response:
        """A page of devices; with ?deviceName= that one."""
        if "deviceName" in request.query:
            return await self.device_by_name(request)
        text, kind = request.query.get("textSearch", "").lower(), request.query.get("type")
        found = [d for d in self.registry.devices() if d.tenant == TENANT and text in d.name.lower()]
        shown = [self._device_document(d) for d in found]
        return documents.page(request, [d for d in shown if not kind or d["type"] == kind])

    async def device_types(self, request: web.Request) -> web.Response:
        """The types in use."""
        types = {self._type(d) for d in self.registry.devices() if d.tenant == TENANT}
        tenant = {"entityType": "TENANT", "id": TENANT}
        return web.json_response([{"tenantId": tenant, "entityType": "DEVICE", "type": t} for t in sorted(types)])

    async def get_credentials(self, request: web.Request) -> web.Response:
        """A device's credentials."""
        return web.json_response(documents.credentials(self.found(request)))

    async def save_credentials(self, request: web.Request) -> web.Response:
        """Change a device's credentials; its session ends."""
        document = await request.json()
        device = self.found(request, document["deviceId"]["id"])
        self.core.set_credentials(device, documents.given_credentials(document))
        return web.json_response(documents.credentials(self.found(request, device.id)))

    def found(self, request: web.Request, device_id: str | None = None) -> Device:
        """The device that a path or a document names; HTTPNotFound."""
        device = self.registry.device_by_id(device_id or request.match_info["id"])
        if device is None:
            raise documents.not_found("Device")
        return device

    def _profile(self, request: web.Request) -> Profile:
        profile = self.registry.profile(id=request.match_info["id"])
        if profile is None:
            raise documents.not_found("Device profile")
        return profile

    def _saved(self, document: dict[str, Any], credentials: Any) -> Device:
        profile = (document.get("deviceProfileId") or {}).get("id")
        profile = profile or self.registry.profile_named(document.get("type") or "default", TENANT).id
        info = {name: document[name] for name in ("label", "additionalInfo") if document.get(name) is not None}
        gateway = bool(info.get("additionalInfo", {}).get("gateway"))
        own = documents.given_packages(document)
        device_id = (document.get("id") or {}).get("id")
        if device_id:
            known = self.registry.device_by_id(device_id)
            if known is None:
                raise documents.not_found("Device")
            changed = replace(known, profile=profile, name=document["name"], gateway=gateway, info=info)
            return self.core.updates.save_device(changed, own)
        if self.registry.device(name=document["name"], tenant=TENANT):
            raise RegistryError("Device with such name already exists!")
        self.core.updates.check(own, profile)
        device = Device(new_id(), TENANT, profile, document["name"], credentials, gateway, info=info)
        return self.registry.add_device(device, own)

    def _shown(self, device: Device) -> web.Response:
        return web.json_response(self._device_document(device))

    def _device_document(self, device: Device) -> dict[str, Any]:
        return documents.device(device, self._type(device), self.registry.assigned(device.id))

    def _profile_document(self, profile: Profile) -> dict[str, Any]:
        return documents.profile(profile, self.registry.assigned(profile.id))

    def _type(self, device: Device) -> str:
        profile = self.registry.profile(id=device.profile)
        return profile.name if profile else "default"


async def _posted(request: web.Request) -> dict[str, Any]:
    try:
        document = await request.json()
    except ValueError:
        return {}
    return document if isinstance(document, dict) else {}


def _jwt() -> str:
    # Clients look into the token for its user and expiry; nobody checks the signature here.
    def part(document: dict[str, Any]) -> str:
        return base64.urlsafe_b64encode(json.dumps(document).encode()).decode().rstrip("=")

    claims = {"sub": USER, "scopes": ["TENANT_ADMIN"], "userId": new_id(), "tenantId": TENANT, "exp": 4102444800}
    return f"{part({'alg': 'HS512'})}.{part(claims)}.{random_text(40)}"
