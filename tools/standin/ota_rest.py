"""The REST face's part for OTA packages."""

from __future__ import annotations

import base64
from typing import Any

from aiohttp import web

from ..checksums import ALGORITHMS, checksum
from . import documents
from .core import Core
from .ota import KINDS, Package
from .registry import RegistryError, new_id

# What can't change once it is stored: member of a document, of a package, and what the server calls it.
_FIXED = (
    ("type", "kind", "type"),
    ("title", "title", "title"),
    ("version", "version", "version"),
    ("tag", "tag", "tag"),
    ("url", "url", "url"),
    ("deviceProfileId", "profile", "deviceProfile"),
)


class OtaRest:
    """Handlers for a tenant administrator's packages."""

    def __init__(self, core: Core) -> None:
        self.core = core
        self.registry = core.registry

    def routes(self) -> list[web.RouteDef]:
        """The routes for users who are signed in."""
        return [
            web.post("/api/otaPackage", self.save_info),
            web.post("/api/otaPackage/{id}", self.save_data),
            web.get("/api/otaPackage/info/{id}", self.get_info),
            web.get("/api/otaPackage/{id}", self.get_package),
            web.get("/api/otaPackage/{id}/download", self.download),
            web.delete("/api/otaPackage/{id}", self.delete),
            web.get("/api/otaPackages", self.list_packages),
            web.get("/api/otaPackages/{profile}/{type}", self.list_packages),
        ]

    async def save_info(self, request: web.Request) -> web.Response:
        """Make a package, its file to follow unless it is one by URL. Nothing of a stored one can change."""
        document = await request.json()
        given = _given(document)
        uses_url = document.get("usesUrl") or document.get("isURL")
        if uses_url and not (given.url or "").strip():
            raise RegistryError("Ota package URL should be specified!")
        if given.profile and self.registry.profile(id=given.profile) is None:
            raise RegistryError("OtaPackage is referencing to non-existent device profile!")
        if not (document.get("id") or {}).get("id"):
            return web.json_response(documents.package(self.registry.add_package(given)))
        known = self._package(document["id"]["id"])
        for _, member, name in _FIXED:
            if getattr(given, member) != getattr(known, member):
                raise RegistryError(f"Updating otaPackage {name} is prohibited!")
        return web.json_response(documents.package(known))

    async def save_data(self, request: web.Request) -> web.Response:
        """The package's file, as `file` of a form; ?checksumAlgorithm=, and ?checksum= to compare with."""
        package = self._package(request.match_info["id"])
        algorithm = request.query["checksumAlgorithm"].upper()
        if algorithm not in ALGORITHMS:
            raise RegistryError(f"Invalid checksumAlgorithm {algorithm}")
        data, filename, content_type = await _file(request)
        made = checksum(algorithm, data)
        if request.query.get("checksum", made) != made:
            raise RegistryError("Wrong otaPackage file!")
        if package.url:
            raise RegistryError("File can't be saved if URL present!")
        if package.data not in (None, data):
            raise RegistryError("Updating otaPackage data is prohibited!")
        package.data, package.algorithm, package.checksum = data, algorithm, made
        package.filename, package.content_type = filename, content_type
        return web.json_response(documents.package(self.registry.change_package(package)))

    async def get_info(self, request: web.Request) -> web.Response:
        """One package without its bytes."""
        return web.json_response(documents.package(self._package(request.match_info["id"])))

    async def get_package(self, request: web.Request) -> web.Response:
        """One package with its bytes."""
        package = self._package(request.match_info["id"])
        data = None if package.data is None else base64.b64encode(package.data).decode()
        return web.json_response({**documents.package(package), "data": data})

    async def download(self, request: web.Request) -> web.Response:
        """The package's bytes."""
        package = self._package(request.match_info["id"])
        if package.data is None:
            return web.Response(status=400)
        return documents.package_file(package, package.data)

    async def delete(self, request: web.Request) -> web.Response:
        """Remove a package that nobody uses."""
        self.core.updates.delete(self._package(request.match_info["id"]).id)
        return web.Response()

    async def list_packages(self, request: web.Request) -> web.Response:
        """A page of packages; below a profile and a type of those that may be assigned there."""
        text, profile = request.query.get("textSearch", "").lower(), request.match_info.get("profile")
        found = [p for p in self.registry.packages() if p.tenant == documents.TENANT and text in p.title.lower()]
        if profile:
            kind = request.match_info["type"]
            found = [p for p in found if p.is_complete and (p.profile, KINDS[p.kind]) == (profile, kind)]
        return documents.page(request, [documents.package(p) for p in found])

    def _package(self, package_id: str) -> Package:
        package = self.registry.package(package_id)
        if package is None:
            raise documents.not_found("OTA package")
        return package


def _given(document: dict[str, Any]) -> Package:
    kinds = {name: kind for kind, name in KINDS.items()}
    profile = (document.get("deviceProfileId") or {}).get("id")
    title, version = (str(document.get(name) or "") for name in ("title", "version"))
    tag, url = (document.get(name) or None for name in ("tag", "url"))
    kind = kinds.get(document.get("type") or "", "")
    return Package(new_id(), documents.TENANT, kind, title, version, tag, url, profile=profile)


async def _file(request: web.Request) -> tuple[bytes, str, str]:
    # (bytes, name, content type)
    file = (await request.post()).get("file")
    data = file.file.read() if isinstance(file, web.FileField) else b""
    if not isinstance(file, web.FileField) or not data:
        raise RegistryError("OtaPackage data should be specified!")
    return data, file.filename, file.content_type
