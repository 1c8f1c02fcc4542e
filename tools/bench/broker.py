"""Servers that do nothing but answer: they must not be what is measured."""

from __future__ import annotations

import contextlib
import re
import socket
import threading

_CONNECT, _PUBLISH, _PINGREQ = 0x10, 0x30, 0xC0
_CLIENTS = 8  # at a time
# As the stand-in's, which ThingsBoard's are like: 200, empty, the connection stays.
_HTTP_ANSWER = (
    b"HTTP/1.1 200 OK\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: 0\r\n"
    b"Date: Tue, 24 Nov 2026 12:00:00 GMT\r\nServer: Python/3.11 aiohttp/3.12.15\r\n\r\n"
)
_LENGTH = re.compile(rb"content-length: *(\d+)", re.IGNORECASE)


class Broker:
    """A context manager; listens on `port` of loopback and takes every client in: CONNACK, PUBACK, PINGRESP."""

    def __init__(self) -> None:
        self._server = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._server.getsockname()[1])

    def __enter__(self) -> Broker:
        # Each thread takes one client after the other: a new connection costs no new thread.
        for _ in range(_CLIENTS):
            threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.close()

    def end(self, data: bytes) -> int:
        """Where the first packet in `data` ends; 0 while that is not known."""
        return _end(data)

    def answer(self, packet: bytes) -> bytes:
        """What the server says to a packet."""
        return _answer(packet)

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                self._serve(self._server.accept()[0])

    def _serve(self, client: socket.socket) -> None:
        data = b""
        with client, contextlib.suppress(OSError):
            while part := client.recv(65536):
                data += part
                while (end := self.end(data)) and end <= len(data):
                    packet, data = data[:end], data[end:]
                    client.sendall(self.answer(packet))


class HttpBroker(Broker):
    """The same over HTTP: 200 to every request."""

    def end(self, data: bytes) -> int:
        """Behind the body of the first request."""
        end = data.find(b"\r\n\r\n")
        length = _LENGTH.search(data, 0, end) if end >= 0 else None
        return end + 4 + int(length[1] if length else 0) if end >= 0 else 0

    def answer(self, packet: bytes) -> bytes:
        """200, empty."""
        return _HTTP_ANSWER


def _end(data: bytes) -> int:
    """Where the first packet in `data` ends; 0 while its length is not known."""
    size = 0
    for i in range(1, min(len(data), 5)):
        size |= (data[i] & 127) << 7 * (i - 1)
        if data[i] < 128:
            return i + 1 + size
    return 0


def _answer(packet: bytes) -> bytes:
    kind = packet[0] & 0xF0
    if kind == _CONNECT:
        return b"\x20\2\0\0"
    if kind == _PINGREQ:
        return b"\xd0\0"
    if kind == _PUBLISH and packet[0] & 6:
        start = 2 + (packet[1] > 127) + (packet[1] > 127 and packet[2] > 127)
        topic = int.from_bytes(packet[start : start + 2], "big")
        return b"\x40\2" + packet[start + 2 + topic : start + 4 + topic]
    return b""
