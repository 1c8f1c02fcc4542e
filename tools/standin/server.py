"""The stand-in as one object: every transport on loopback, in a thread of its own."""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
import socket
import tempfile
import threading
import time
import weakref
from collections.abc import Callable, Coroutine
from concurrent.futures import Future
from dataclasses import replace
from pathlib import Path
from typing import Any

from aiohttp import web
from cryptography.x509 import Certificate
from OpenSSL import SSL

from ..checksums import checksum
from . import authentication, coap, dtls
from .certificates import Authority, Pair
from .core import RPC_TIMEOUT, Core, Event, Fate, RpcError
from .http import DeviceApi
from .limits import Limits
from .mqtt import Connection
from .ota import Package
from .provisioning import ALLOW_CREATE
from .registry import Credentials, Device, Profile, Registry, RegistryError, access_token, new_id, sha3
from .release import RELEASES
from .rest import TENANT, Rest
from .tls import Tls, context
from .wire import Tap, Wire

HOST = "127.0.0.1"
WIRES = 2000  # connections whose bytes are kept


class Standin:
    """A running stand-in; a context manager. Ports that are 0 are chosen by the system.

    `release`: the ThingsBoard release it mirrors ("3.8", "4.2", "4.4"). `scale` multiplies the server's own waits
    (60 s, 10 to 20 s), so that tests need not sit through them. `database`: a file that keeps the registry.

    `tls` opens an MQTT and an HTTP port with TLS, up to `newest_tls` ("1.2" or "1.3"), and a CoAP port with DTLS. Their
    certificate is issued by a CA whose own certificate is in the files `ca_pem` and `ca_der`. It is made at start; with
    `ca_file` it lies there with its key, and is used again. `wires` has what came in on each TCP connection.
    """

    def __init__(
        self,
        *,
        release: str = "4.4",
        host: str = HOST,
        mqtt_port: int = 0,
        http_port: int = 0,
        coap_port: int = 0,
        mqtts_port: int = 0,
        https_port: int = 0,
        coaps_port: int = 0,
        tls: bool = False,
        ca_file: Path | None = None,
        newest_tls: str = "1.3",
        limits: Limits | None = None,
        scale: float = 1.0,
        database: str = ":memory:",
        on_event: Callable[[Event], None] | None = None,
    ) -> None:
        self.host = host
        self.mqtt_port = mqtt_port
        self.http_port = http_port
        self.coap_port = coap_port
        self.mqtts_port = mqtts_port
        self.https_port = https_port
        self.coaps_port = coaps_port
        self.wires: list[Wire] = []
        self.authority: Authority | None = None
        self._folder: tempfile.TemporaryDirectory[str] | None = None
        self._newest_tls = newest_tls
        self._contexts: dict[str, SSL.Context] = {}
        if tls:
            self._folder = tempfile.TemporaryDirectory(prefix="standin-")
            self.authority = Authority(Path(self._folder.name), ca_file)
            self.use_certificate("good")
        self.events: list[Event] = []
        self.registry = Registry(database)
        self._on_event = on_event
        self._happened = threading.Condition()
        self.core = Core(self.registry, RELEASES[release], scale, self._say)
        self.core.limits = limits or self.core.limits
        self.core.restart = self._restart_soon
        self.coap = coap.DeviceApi(self.core)
        self.mistakes: list[str] = []  # of this server's own; tests look here
        self._loop = asyncio.new_event_loop()
        self._loop.set_exception_handler(self._failed)
        self._thread: threading.Thread | None = None
        self._stops: list[Callable[[], Coroutine[Any, Any, None]]] = []
        self._kept: dict[int, socket.socket] = {}  # the ports of a server that is stopped, closed to everybody
        self._connections: set[Connection] = set()
        self._tls: weakref.WeakSet[Tls] = weakref.WeakSet()

    def __enter__(self) -> Standin:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()
        self._let_go(*self._kept)
        if self._thread:
            self._call(self._finish())
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join()
            self._loop.close()
        if self._folder:
            self._folder.cleanup()

    def start(self) -> Standin:
        """Open the ports. OSError when one is taken."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._loop.run_forever, name="standin", daemon=True)
            self._thread.start()
        self._call(self._start())
        return self

    def stop(self) -> None:
        """Close the ports and every connection; the registry stays, and start() opens the same ports again."""
        if self._thread is None:
            return
        self._call(self._stop())
        self._keep(self.mqtt_port, self.http_port, self.mqtts_port, self.https_port)

    def _keep(self, *numbers: int) -> None:
        # A socket that does not listen: who connects is refused, and nobody else is given the port meanwhile.
        for number in set(numbers) - {0, *self._kept}:
            kept = self._kept[number] = socket.socket()
            kept.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            with contextlib.suppress(OSError):
                kept.bind((self.host, number))

    def _let_go(self, *numbers: int) -> None:
        for number in numbers:
            if number in self._kept:
                self._kept.pop(number).close()

    # What tests and tools ask and tell

    @property
    def ca_pem(self) -> Path:
        """The CA's certificate as a PEM file."""
        return self._authority().ca_pem

    @property
    def ca_der(self) -> Path:
        """The CA's certificate as a DER file."""
        return self._authority().ca_der

    def use_certificate(self, given: str | Pair) -> None:
        """Show new connections this server certificate: one of certificates.KINDS, or files of the caller's."""
        pair = self._authority().server(given) if isinstance(given, str) else given
        for port, wants_client in (("mqtts", True), ("https", False)):
            self._contexts[port] = context(pair, wants_client=wants_client, newest=self._newest_tls)
        self._contexts["coaps"] = dtls.context(pair)

    def _authority(self) -> Authority:
        if self.authority is None:
            raise ValueError("this stand-in has no TLS: Standin(tls=True)")
        return self.authority

    def add_profile(
        self,
        name: str = "boards",
        strategy: str = ALLOW_CREATE,
        key: str | None = "profile-key",
        secret: str | None = "profile-secret",
        **more: Any,
    ) -> Profile:
        """Add a device profile."""
        return self.registry.add_profile(Profile(new_id(), TENANT, name, strategy, key, secret, **more))

    def add_device(
        self,
        name: str,
        profile: Profile,
        credentials: Credentials | str,
        server_attributes: dict[str, Any] | None = None,
    ) -> Device:
        """Add a device with a token or other credentials."""
        if isinstance(credentials, str):
            credentials = access_token(credentials)
        device = self.registry.add_device(Device(new_id(), TENANT, profile.id, name, credentials))
        self.registry.set_attributes(device.id, "SERVER_SCOPE", server_attributes or {})
        return device

    def devices(self) -> list[Device]:
        """All devices."""
        return self.registry.devices()

    def device(self, name: str) -> Device:
        """The device of this name; KeyError."""
        device = self.registry.device(name=name, tenant=TENANT)
        if device is None:
            raise KeyError(name)
        return device

    def delete_device(self, name: str) -> None:
        """Delete a device; its session ends."""
        device = self.device(name)
        self._do(lambda: self.core.delete_device(device))

    def set_credentials(self, name: str, credentials: Credentials | str) -> None:
        """Change a device's credentials, or its token; its session ends."""
        if isinstance(credentials, str):
            credentials = access_token(credentials)
        device, given = self.device(name), replace(credentials)
        self._do(lambda: self.core.set_credentials(device, given))

    def end_session(self, name: str) -> None:
        """Close a device's session, as an idle time-out or a rate limit does."""
        device = self.device(name)
        self._do(lambda: self.core.end_session(device.id, "closed by the operator"))

    def telemetry(self, name: str) -> list[tuple[str, int, Any]]:
        """(name, ts in ms, value) of everything stored for a device, in order of arrival."""
        return self.registry.series(self.device(name).id)

    def received(self, name: str) -> list[tuple[str, int, Any]]:
        """As telemetry(), with what a later value of the same time has replaced: all that came, to be counted."""
        return self.registry.received(self.device(name).id)

    def attributes(self, name: str, scope: str = "CLIENT_SCOPE") -> dict[str, Any]:
        """A device's attributes."""
        return self.registry.attributes(self.device(name).id, scope)

    def set_shared(self, name: str, values: dict[str, Any]) -> None:
        """Change shared attributes; a subscribed device hears of it."""
        device = self.device(name)
        self._do(lambda: self.core.set_shared(device, values))

    def delete_shared(self, name: str, names: list[str]) -> None:
        """Remove shared attributes; a subscribed device hears of it."""
        device = self.device(name)
        self._do(lambda: self.core.delete_shared(device, names))

    def add_package(
        self,
        kind: str,
        title: str,
        version: str,
        data: bytes | None,
        *,
        algorithm: str = "SHA256",
        tag: str | None = None,
        url: str | None = None,
        profile: str | None = None,
    ) -> Package:
        """Add an OTA package, kind "fw" or "sw": with data, or None and a URL. RegistryError.

        A package belongs to one profile, to the one of its first assignment if none is named.
        """
        package = Package(new_id(), TENANT, kind, title, version, tag, url)
        if data is not None:
            package.data, package.algorithm, package.checksum = data, algorithm, checksum(algorithm, data)
            package.filename = f"{title}-{version}.{'bin' if kind == 'fw' else 'tar'}"
        package.profile = self._profile(profile).id if profile else None
        return self.registry.add_package(package)

    def assign(
        self, package: Package | None, *, kind: str | None = None, device: str | None = None, profile: str | None = None
    ) -> None:
        """Assign a package to a device or a profile by name; None takes away the one of this kind. RegistryError.

        Devices that listen hear of it.
        """
        kind = package.kind if package else kind
        if kind not in ("fw", "sw") or (device is None) == (profile is None):
            raise ValueError("a package or a kind, and a device or a profile")
        owner = self.device(device) if device else self._profile(profile or "")

        async def assign() -> None:
            self.core.updates.assign(owner, kind, package)

        self._call(assign())

    def _profile(self, name: str) -> Profile:
        profile = self.registry.profile(name=name)
        if profile is None:
            raise KeyError(name)
        return profile

    def rpc(self, name: str, method: str, params: Any = None, timeout: float = RPC_TIMEOUT) -> Any:
        """Call a method on a device and return its reply; TimeoutError."""
        device = self.device(name)

        async def call() -> Any:
            return await self.core.rpc(device, method, params, timeout).reply

        try:
            return self._call(call())
        except RpcError as e:
            raise TimeoutError(f"{method}: {e}") from None

    @property
    def methods(self) -> dict[str, Callable[[Any], Any]]:
        """What answers client-side RPC, as a rule chain would: a function of params by each method's name."""
        return self.core.methods

    def set_limits(self, limits: Limits) -> None:
        """Change the rate limits of every device, with full buckets."""

        def change() -> None:
            self.core.limits = limits

        self._do(change)

    # Faults of the server itself; faults.py has those of the network

    def next_answers(self, *fates: str | Fate) -> None:
        """Plan what becomes of the next answers to provisioning requests; the server's work is done all the same."""
        self._plan("provision", fates)

    def next_acknowledgements(self, *fates: str | Fate) -> None:
        """Plan what becomes of the next acknowledgements of telemetry and attributes; they are stored all the same."""
        self._plan("telemetry", fates)

    def restart(self, seconds: float = 0) -> None:
        """Stop, be away for a while, and start on the same ports with the same registry."""
        self.stop()
        time.sleep(seconds)
        self.start()

    def _plan(self, step: str, fates: tuple[str | Fate, ...]) -> None:
        planned = [Fate(fate) if isinstance(fate, str) else fate for fate in fates]
        self._do(lambda: self.core.fates[step].extend(planned))

    def _restart_soon(self, seconds: float) -> None:
        async def restart() -> None:
            await self._stop()
            await asyncio.sleep(seconds)
            await self._start()

        self._restarting = self._loop.create_task(restart())

    @property
    def provision_requests(self) -> list[str]:
        """The device name of every provisioning request that could be read."""
        return self.core.provision_requests

    def wait_for(self, found: Callable[[Standin], bool], timeout: float = 10) -> bool:
        """Wait until `found(self)` after some event; False after `timeout` seconds."""
        with self._happened:
            return self._happened.wait_for(lambda: found(self), timeout)

    # The loop's side

    async def _start(self) -> None:
        app = web.Application(client_max_size=1 << 26, middlewares=[_hung_up])
        app.add_routes([*DeviceApi(self.core).routes(), *Rest(self.core).routes()])
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await runner.setup()
        http: Any = runner.server
        self._stops = [self._stop_connections, runner.cleanup]
        try:
            self.mqtt_port = await self._open("mqtt", self.mqtt_port, self._mqtt_protocol)
            self.http_port = await self._open("http", self.http_port, http)
            if self.authority:
                self.mqtts_port = await self._open("mqtts", self.mqtts_port, self._mqtt_protocol)
                self.https_port = await self._open("https", self.https_port, http)
            self.coap_port, stop_coap = await coap.serve(self.coap, self.host, self.coap_port)
            self._stops.append(stop_coap)
            if self.authority:
                self.coaps_port = await self._open_dtls(self.coaps_port)
        except OSError:
            await self._stop()
            raise

    async def _open(self, port: str, number: int, protocol: Callable[[], asyncio.Protocol]) -> int:
        def connected() -> asyncio.Protocol:
            wire = Wire(port)
            self.wires.append(wire)
            del self.wires[:-WIRES]
            if port not in self._contexts:
                return Tap([wire.raw, wire.plain], protocol())
            tls = Tls(self._contexts[port], wire, Tap([wire.plain], protocol()), self._admit, self._trouble)
            self._tls.add(tls)
            return tls

        self._let_go(number)
        server = await asyncio.get_running_loop().create_server(connected, self.host, number)

        async def stop() -> None:
            server.close()

        self._stops.insert(0, stop)
        return int(server.sockets[0].getsockname()[1])

    async def _open_dtls(self, number: int) -> int:
        def admit(address: tuple[str, int], chain: list[Certificate]) -> None:
            if not all(map(authentication.is_valid, chain)):
                raise ValueError("a certificate that is out of its dates")
            for certificate in chain:
                device = self.registry.device_by_credentials(sha3(authentication.certificate_text(certificate)))
                if device:
                    self.coap.certified[address] = device.credentials.id
                    self.core.say("coaps", device.name, "known by the certificate")
                    return

        front = dtls.Front(
            lambda: self._contexts["coaps"],
            (self.host, self.coap_port),
            admit,
            lambda why: self.core.say("coaps", "?", f"no DTLS: {why}"),
        )
        transport, _ = await self._loop.create_datagram_endpoint(lambda: front, (self.host, number))

        async def stop() -> None:
            transport.close()

        self._stops.insert(0, stop)
        return int(transport.get_extra_info("sockname")[1])

    def _mqtt_protocol(self) -> asyncio.Protocol:
        return asyncio.StreamReaderProtocol(asyncio.StreamReader(), self._mqtt)

    def _admit(self, chain: list[Certificate]) -> None:
        # What goes wrong here is told and no more: the handshake succeeds, and CONNECT is refused (contract 2.4).
        try:
            device = authentication.admit(self.registry, chain)
        except (RegistryError, re.error, IndexError, ValueError) as e:
            self.core.say("mqtts", "?", f"no device for the certificate: {e}")
            return
        if device:
            self.core.say("mqtts", device.name, "known by the certificate")

    def _trouble(self, wire: Wire) -> None:
        self.core.say(wire.port, "?", f"no TLS: {wire.trouble}")

    async def _stop_connections(self) -> None:
        for connection in list(self._connections):
            connection.close("server stopped")
        for tls in list(self._tls):
            tls.abort()

    async def _stop(self) -> None:
        self.core.forget_calls()
        for stop in self._stops:
            await stop()
        self._stops = []

    async def _finish(self) -> None:
        left = asyncio.all_tasks() - {asyncio.current_task()}
        for task in left:
            task.cancel()
        if left:
            await asyncio.wait(left, timeout=2)

    async def _mqtt(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connection = Connection(self.core, reader, writer)
        self._connections.add(connection)
        try:
            await connection.serve()
        finally:
            self._connections.discard(connection)

    def _failed(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        self.mistakes.append(f"{context['message']}: {context.get('exception')!r}")
        loop.default_exception_handler(context)

    def _say(self, event: Event) -> None:
        with self._happened:
            self.events.append(event)
            self._happened.notify_all()
        if self._on_event:
            try:
                self._on_event(event)
            except (OSError, SystemExit):  # who read it has gone, `| head` for one; rich then wants to leave
                self._on_event = None

    def _call(self, coroutine: Coroutine[Any, Any, Any]) -> Any:
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result()

    def _do(self, action: Callable[[], None]) -> None:
        done: Future[None] = Future()

        def act() -> None:
            action()
            done.set_result(None)

        self._loop.call_soon_threadsafe(act)
        done.result()


@web.middleware
async def _hung_up(request: web.Request, handler: Any) -> web.StreamResponse:
    # A client that goes away in the middle of its request is no fault of the server's.
    try:
        return await handler(request)
    except ConnectionError:
        return web.Response(status=400)


def event_line(event: Event) -> str:
    """One readable line of an event."""
    clock = time.strftime("%H:%M:%S", time.localtime(event.time)) + f".{int(event.time * 1000) % 1000:03d}"
    return f"{clock} {event.transport:5} {event.who}: {event.what}"


def as_document(event: Event) -> str:
    """The event as a line of JSON."""
    return json.dumps(vars(event))
