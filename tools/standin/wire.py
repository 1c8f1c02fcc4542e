"""What came in on each TCP connection, kept for tests that must show that something was never sent."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

MOST = 1 << 20  # bytes kept of one connection, so that a server that runs for long stays small


@dataclass
class Wire:
    """One TCP connection: `raw` as it came off the socket, `plain` as the transport read it, without TLS.

    `port` is "mqtt", "mqtts", "http" or "https"; `trouble` says why a TLS handshake failed.
    """

    port: str
    raw: bytearray = field(default_factory=bytearray)
    plain: bytearray = field(default_factory=bytearray)
    trouble: str | None = None

    def saw(self, text: str | bytes) -> bool:
        """True when these bytes came in, readable to anyone on the way or only to the server."""
        wanted = text.encode() if isinstance(text, str) else text
        return wanted in self.raw or wanted in self.plain


def keep(buffer: bytearray, data: bytes) -> None:
    """Append up to the limit."""
    buffer += data[: MOST - len(buffer)]


class Tap(asyncio.Protocol):
    """Hands everything on to the protocol behind it, and keeps what came in."""

    def __init__(self, buffers: list[bytearray], inner: asyncio.Protocol) -> None:
        self._buffers = buffers
        self._inner = inner
        self.pause_writing = inner.pause_writing  # type: ignore[method-assign]
        self.resume_writing = inner.resume_writing  # type: ignore[method-assign]
        self.connection_made = inner.connection_made  # type: ignore[method-assign]
        self.connection_lost = inner.connection_lost  # type: ignore[method-assign]
        self.eof_received = inner.eof_received  # type: ignore[method-assign]

    def data_received(self, data: bytes) -> None:
        """Keep it, hand it on."""
        for buffer in self._buffers:
            keep(buffer, data)
        self._inner.data_received(data)
