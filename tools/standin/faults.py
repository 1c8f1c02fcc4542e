"""Proxies that do to a connection what networks do: cut, stall, delay, corrupt, drop, double, reorder.

Each runs in a thread of its own, before any port on this machine, and keeps what passed through it. What a plan says
holds for connections that are made afterwards.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import socket
import struct
import threading
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field, replace
from typing import Any

HOST = "127.0.0.1"
_CHUNK = 65536


@dataclass(frozen=True)
class Way:
    """What happens to the bytes of one direction.

    `cut`: the connection ends as soon as this many bytes have passed (0: at once). `stall`: no more than this many
    bytes pass, and the connection stays open. `delay`: seconds before each piece. `piece`: at most this many bytes
    at a time. `flip`: the places of bytes whose bits are all turned over. `corrupt`: the probability that a byte is
    replaced by another, by the proxy's seed.
    """

    cut: int | None = None
    stall: int | None = None
    delay: float = 0
    piece: int = _CHUNK
    flip: tuple[int, ...] = ()
    corrupt: float = 0


@dataclass(frozen=True)
class Fault:
    """What happens to a connection: `up` is from the client to the server, `down` from the server to the client.

    `refuse`: it is reset as soon as it is made. `reset`: a cut is a reset instead of an orderly end.
    """

    up: Way = Way()
    down: Way = Way()
    refuse: bool = False
    reset: bool = False


@dataclass
class Link:
    """A connection through a TcpProxy: bytes that came from the client and the server, and how many passed on."""

    number: int
    fault: Fault
    up: bytearray = field(default_factory=bytearray)
    down: bytearray = field(default_factory=bytearray)
    passed_up: int = 0
    passed_down: int = 0
    is_open: bool = True
    ended: str = ""


class _Proxy:
    """A thread with an event loop, and a port on it."""

    def __init__(self, target: int, host: str = HOST, port: int = 0) -> None:
        self.target = target
        self.host = host
        self.port = port
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name=type(self).__name__, daemon=True)
        self._happened = threading.Condition()

    def __enter__(self) -> Any:
        self._thread.start()
        self._call(self._open())
        return self

    def __exit__(self, *_: object) -> None:
        self._call(self._close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def wait_for(self, found: Callable[[Any], bool], timeout: float = 10) -> bool:
        """Wait until `found(self)` after something passed or ended; False after `timeout` seconds."""
        with self._happened:
            return self._happened.wait_for(lambda: found(self), timeout)

    def _tell(self) -> None:
        with self._happened:
            self._happened.notify_all()

    def _call(self, coroutine: Coroutine[Any, Any, Any]) -> Any:
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result()

    async def _open(self) -> None:
        raise NotImplementedError

    async def _close(self) -> None:
        raise NotImplementedError


class TcpProxy(_Proxy):
    """Passes TCP connections on to the port `target`.

    `plan` is a Fault for every connection, or a function from a connection's number, counted from 0, to its Fault.
    """

    def __init__(
        self, target: int, plan: Fault | Callable[[int], Fault] | None = None, seed: int = 0, host: str = HOST
    ) -> None:
        super().__init__(target, host)
        self.plan = plan or Fault()
        self.seed = seed
        self.links: list[Link] = []
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    def pause(self) -> None:
        """Close the port, so that connections are refused; those that are open go on."""
        self._call(self._shut())

    def resume(self) -> None:
        """Open the same port again."""
        self._call(self._open())

    def end(self) -> None:
        """Reset every open connection."""
        self._call(self._end())

    async def _open(self) -> None:
        self._server = await asyncio.start_server(self._accepted, self.host, self.port)
        self.port = self._server.sockets[0].getsockname()[1]

    async def _shut(self) -> None:
        if self._server:
            self._server.close()
            self._server = None

    async def _end(self) -> None:
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _close(self) -> None:
        await self._shut()
        await self._end()

    async def _accepted(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        fault = self.plan if isinstance(self.plan, Fault) else self.plan(len(self.links))
        link = Link(len(self.links), fault)
        self.links.append(link)
        try:
            link.ended = await self._pass(link, reader, writer)
        except asyncio.CancelledError:
            link.ended = "ended by the proxy"
            _finish(writer, reset=True)
        finally:
            link.is_open = False
            self._tasks.discard(task)
            self._tell()

    async def _pass(self, link: Link, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> str:
        fault = link.fault
        if fault.refuse:
            _finish(writer, reset=True)
            return "refused"
        try:
            far_reader, far_writer = await asyncio.open_connection(self.host, self.target)
        except OSError as e:
            _finish(writer, reset=True)
            return f"no server ({e.strerror})"
        ways = (
            asyncio.ensure_future(self._carry(link, "up", fault.up, reader, far_writer)),
            asyncio.ensure_future(self._carry(link, "down", fault.down, far_reader, writer)),
        )
        why = "ended by the proxy"
        try:
            done, _ = await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
            why = next(iter(done)).result()
        finally:
            for way in ways:
                way.cancel()
            await asyncio.gather(*ways, return_exceptions=True)
            reset = why == "ended by the proxy" or fault.reset and why.startswith("cut")
            _finish(writer, reset)
            _finish(far_writer, reset)
        return why

    async def _carry(
        self, link: Link, name: str, way: Way, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> str:
        seen: bytearray = getattr(link, name)
        chance = random.Random(f"{self.seed} {link.number} {name}")
        passed = 0
        while way.cut is None or passed < way.cut:
            try:
                data = await reader.read(way.piece)
            except OSError as e:
                return f"{name}: {e.strerror}"
            if not data:
                return f"{name}: end of stream"
            start = len(seen)
            seen += data
            data = _spoil(data, start, way, chance)
            if way.delay:
                await asyncio.sleep(way.delay)
            most = min(limit for limit in (way.cut, way.stall, 1 << 62) if limit is not None) - passed
            data = data[: max(0, most)]
            if data:
                writer.write(data)
                with contextlib.suppress(OSError):
                    await writer.drain()
            passed += len(data)
            setattr(link, f"passed_{name}", passed)
            self._tell()
        return f"cut after {passed} bytes {name}"


def _spoil(data: bytes, start: int, way: Way, chance: random.Random) -> bytes:
    if not way.flip and not way.corrupt:
        return data
    spoilt = bytearray(data)
    for place in way.flip:
        if start <= place < start + len(data):
            spoilt[place - start] ^= 0xFF
    if way.corrupt:
        for i in range(len(spoilt)):
            if chance.random() < way.corrupt:
                spoilt[i] ^= chance.randrange(1, 256)
    return bytes(spoilt)


def _finish(writer: asyncio.StreamWriter, reset: bool) -> None:
    if reset and not writer.is_closing():
        # A close with a linger of 0 seconds is a reset, and what is still unsent is dropped.
        sock = writer.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        writer.transport.abort()
    else:
        writer.close()


@dataclass(frozen=True)
class Weather:
    """What happens to the datagrams of one direction: probabilities, and `delay` in seconds for each.

    A reordered datagram is overtaken by the next one, or comes after `late` seconds.
    """

    drop: float = 0
    double: float = 0
    reorder: float = 0
    corrupt: float = 0
    delay: float = 0
    late: float = 0.05


@dataclass
class Datagram:
    """One datagram that came to a UdpProxy: "up" or "down", its bytes, and what was done with it."""

    way: str
    data: bytes
    fate: str


class UdpProxy(_Proxy):
    """Passes datagrams on to the port `target`, in the weather `up` (towards the server) and `down`, by a seed.

    `decide(way, number, data)`, when given, is asked first: "pass", "drop", "double", "reorder", "corrupt", or None
    for the weather. Numbers count each way from 0.
    """

    def __init__(
        self,
        target: int,
        up: Weather | None = None,
        down: Weather | None = None,
        seed: int = 0,
        decide: Callable[[str, int, bytes], str | None] | None = None,
        host: str = HOST,
    ) -> None:
        super().__init__(target, host)
        self.weather = {"up": up or Weather(), "down": down or Weather()}
        self.decide = decide
        self.datagrams: list[Datagram] = []
        # A source for each way, so that a seed means the same however the two ways interleave.
        self._chance = {way: random.Random(f"{seed} {way}") for way in ("up", "down")}
        self._counts = {"up": 0, "down": 0}
        self._held: dict[tuple[str, Any], tuple[asyncio.TimerHandle, Callable[[], object]]] = {}
        self._near: asyncio.DatagramTransport | None = None
        self._far: dict[Any, socket.socket] = {}

    def set_weather(self, up: Weather | None = None, down: Weather | None = None, **both: float) -> None:
        """Change the weather: one way, or `both` ways by the members of Weather."""

        async def change() -> None:
            for way, given in (("up", up), ("down", down)):
                self.weather[way] = given or replace(self.weather[way], **both)

        self._call(change())

    def count(self, way: str | None = None, fate: str | None = None) -> int:
        """How many datagrams went this way and met this fate."""
        return sum(way in (None, d.way) and fate in (None, d.fate) for d in list(self.datagrams))

    async def _open(self) -> None:
        near, _ = await self._loop.create_datagram_endpoint(
            lambda: _Ear(self._from_client), local_addr=(self.host, self.port)
        )
        self._near = near
        self.port = near.get_extra_info("sockname")[1]

    async def _close(self) -> None:
        for timer, _ in self._held.values():
            timer.cancel()
        for far in self._far.values():
            self._loop.remove_reader(far)
            far.close()
        if self._near:
            self._near.close()
        await asyncio.sleep(0)  # the port is closed in the loop's next round

    def _from_client(self, data: bytes, client: Any) -> None:
        if client not in self._far:
            self._far[client] = self._new_far(client)
        self._carry("up", client, data, self._far[client].send)

    def _new_far(self, client: Any) -> socket.socket:
        far = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        far.setblocking(False)
        far.connect((self.host, self.target))

        def readable() -> None:
            with contextlib.suppress(OSError):  # the server's port is closed
                self._from_server(far.recv(_CHUNK), client)

        self._loop.add_reader(far, readable)
        return far

    def _from_server(self, data: bytes, client: Any) -> None:
        near = self._near
        if near and not near.is_closing():
            self._carry("down", client, data, lambda what: near.sendto(what, client))

    def _carry(self, way: str, client: Any, data: bytes, send: Callable[[bytes], object]) -> None:
        number = self._counts[way]
        self._counts[way] += 1
        weather = self.weather[way]
        # Each datagram takes the same draws, so that a seed means the same whatever the fates were before it.
        draws = [self._chance[way].random() for _ in range(4)]
        fate = self.decide(way, number, data) if self.decide else None
        if fate is None:
            odds = (weather.drop, weather.double, weather.reorder, weather.corrupt)
            names = ("drop", "double", "reorder", "corrupt")
            fate = next((n for n, odd, draw in zip(names, odds, draws, strict=True) if draw < odd), "pass")
        self.datagrams.append(Datagram(way, data, fate))
        if fate != "drop":
            if fate == "corrupt" and data:
                spoilt = bytearray(data)
                spoilt[int(draws[0] * 7919) % len(data)] ^= 1 + int(draws[1] * 255)
                data = bytes(spoilt)
            if weather.delay:
                self._loop.call_later(weather.delay, self._deliver, way, client, data, send, fate)
            else:
                self._deliver(way, client, data, send, fate)
        self._tell()

    def _deliver(self, way: str, client: Any, data: bytes, send: Callable[[bytes], object], fate: str) -> None:
        if fate == "reorder" and (way, client) not in self._held:
            late = self._loop.call_later(self.weather[way].late, self._release, (way, client))
            self._held[way, client] = (late, lambda: send(data))
            return
        for _ in range(2 if fate == "double" else 1):
            with contextlib.suppress(OSError):  # nobody listens: the datagram is lost
                send(data)
        self._release((way, client))

    def _release(self, key: tuple[str, Any]) -> None:
        timer, send = self._held.pop(key, (None, None))
        if timer and send:
            timer.cancel()
            with contextlib.suppress(OSError):
                send()


class _Ear(asyncio.DatagramProtocol):
    def __init__(self, heard: Callable[[bytes, Any], None]) -> None:
        self.heard = heard

    def datagram_received(self, data: bytes, addr: Any) -> None:
        self.heard(data, addr)
