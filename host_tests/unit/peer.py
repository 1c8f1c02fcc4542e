"""A TCP server on loopback that does what a script says, byte by byte."""

import contextlib
import socket
import threading
import time


class Session:
    """One accepted connection, with the little MQTT that scripts need."""

    def __init__(self, sock):
        self.sock = sock
        sock.settimeout(5)

    def read(self, size):
        """Exactly `size` bytes; EOFError."""
        data = b""
        while len(data) < size:
            part = self.sock.recv(size - len(data))
            if not part:
                raise EOFError
            data += part
        return data

    def packet(self):
        """One MQTT packet: (first byte, body)."""
        first = self.read(1)[0]
        size = shift = 0
        while True:
            byte = self.read(1)[0]
            size |= (byte & 127) << shift
            shift += 7
            if byte < 128:
                return first, self.read(size)

    def send(self, data):
        self.sock.sendall(data)

    def connect(self, code=0):
        """Read CONNECT and answer it; returns flags, keepalive and the list of text fields."""
        first, body = self.packet()
        assert first == 0x10 and body[:7] == b"\0\4MQTT\4"
        self.send(bytes((0x20, 2, 0, code)))
        return body[7], int.from_bytes(body[8:10], "big"), texts(body[10:])

    def published(self):
        """Read a QoS 1 PUBLISH: (packet id as bytes, topic, payload)."""
        first, body = self.packet()
        assert first == 0x32, hex(first)
        end = 2 + int.from_bytes(body[:2], "big")
        return body[end : end + 2], body[2:end], body[end + 2 :]

    def puback(self, packet_id):
        self.send(b"\x40\x02" + packet_id)

    def wait_closed(self):
        """Read on until the client closes; returns what it said before that."""
        data = b""
        with contextlib.suppress(ConnectionError):
            while part := self.sock.recv(4096):
                data += part
        return data


class Peer:
    """A context manager: connection n runs scripts[n](session) in a thread, and what that raises comes out here."""

    def __init__(self, *scripts):
        self.scripts = scripts
        self.errors = []
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.listener.settimeout(5)
        self.port = self.listener.getsockname()[1]
        self.thread = threading.Thread(target=self._serve, daemon=True)

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, kind, *_):
        self.thread.join(10)
        self.listener.close()
        if self.errors and kind is None:
            raise self.errors[0]

    def _serve(self):
        try:
            for script in self.scripts:
                sock, _ = self.listener.accept()
                with sock:
                    script(Session(sock))
        except Exception as e:  # noqa: BLE001 - raised again where the test can see it
            self.errors.append(e)


class TimeServer:
    """SNTP on loopback: `answers(request) -> bytes or None` for each datagram; a context manager."""

    def __init__(self, answers):
        self.answers = answers
        self.asked = []
        self.sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.sock.bind(("127.0.0.1", 0))
        self.port = self.sock.getsockname()[1]

    def __enter__(self):
        threading.Thread(target=self._serve, daemon=True).start()
        return self

    def __exit__(self, *_):
        # A close alone does not wake the thread.
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            sock.sendto(b"", ("127.0.0.1", self.port))

    def _serve(self):
        with self.sock:
            while True:
                data, address = self.sock.recvfrom(100)
                if not data:
                    return
                self.asked.append(data)
                answer = self.answers(data)
                if answer:
                    self.sock.sendto(answer, address)


def sntp_answer(request, unix, mode=4, stratum=2):
    """What a time server answers at `unix` seconds."""
    seconds = (int(unix) + 2208988800) % (1 << 32)
    head = bytes((request[0] & 0x38 | mode, stratum)) + bytes(22)
    return head + request[40:48] + (seconds.to_bytes(4, "big") + bytes(4)) * 2


def publish(topic, payload, qos=0, packet_id=7):
    """The bytes of a PUBLISH."""
    body = len(topic).to_bytes(2, "big") + topic + (packet_id.to_bytes(2, "big") if qos else b"") + payload
    size, head = len(body), bytearray((0x30 | qos << 1,))
    while size > 127:
        head.append(size & 127 | 128)
        size >>= 7
    head.append(size)
    return bytes(head) + body


def texts(data):
    """The length-prefixed fields in `data`."""
    found = []
    while data:
        end = 2 + int.from_bytes(data[:2], "big")
        found.append(data[2:end])
        data = data[end:]
    return found


class Stopwatch:
    """How long a block took, in seconds."""

    def __enter__(self):
        self.began = time.monotonic()
        return self

    def __exit__(self, *_):
        self.seconds = time.monotonic() - self.began
