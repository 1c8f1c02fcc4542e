"""A broker that does nothing but answer: CONNACK, PUBACK, PINGRESP. It must not be what is measured."""

from __future__ import annotations

import contextlib
import socket
import threading

_CONNECT, _PUBLISH, _PINGREQ = 0x10, 0x30, 0xC0


class Broker:
    """A context manager; listens on `port` of loopback and takes every client in."""

    def __init__(self) -> None:
        self._server = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._server.getsockname()[1])

    def __enter__(self) -> Broker:
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client = self._server.accept()[0]
                threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        data = b""
        with client, contextlib.suppress(OSError):
            while part := client.recv(65536):
                data += part
                while (end := _end(data)) and end <= len(data):
                    packet, data = data[:end], data[end:]
                    client.sendall(_answer(packet))


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
