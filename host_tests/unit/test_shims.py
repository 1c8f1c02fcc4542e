"""The stand-ins themselves, where the firmware leans on what MicroPython does differently."""

import errno
import select
import socket
import ssl
import sys
import threading
import time
from base64 import b64encode
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import esp32
import micro
import pytest
import tls
import trustme
import urequests
from firstboot.link import LinkError

from .fakes import config
from .peer import Stopwatch


@pytest.fixture
def pair():
    """A non-blocking socket of the facade and its real other end."""
    listener = socket.create_server(("127.0.0.1", 0))
    sock = micro.socket.socket()
    sock.connect(micro.socket.getaddrinfo("127.0.0.1", listener.getsockname()[1])[0][-1])
    sock.setblocking(False)
    peer, _ = listener.accept()
    yield sock, peer
    for each in (sock, peer, listener):
        each.close()


def test_only_the_firmware_sees_the_facades():
    import firstboot
    from firstboot.link import dial

    assert firstboot.time is micro.time and dial.select is micro.select
    assert sys.modules["time"] is time and not hasattr(time, "ticks_ms")
    assert sys.modules["socket"] is socket and not hasattr(socket.socket, "readinto")


def test_reading(pair):
    sock, peer = pair
    buffer = bytearray(4)
    assert sock.read(1) is None and sock.readinto(buffer) is None
    peer.sendall(b"abcdefg")
    select.select([sock.real], [], [], 1)
    assert sock.readinto(buffer) == 4 and buffer == b"abcd"
    assert sock.readinto(memoryview(buffer)[2:]) == 2 and buffer == b"abef"
    assert sock.read(10) == b"g"
    peer.close()
    select.select([sock.real], [], [], 1)
    assert sock.read(1) == b"" and sock.readinto(buffer) == 0


def test_writing(pair):
    sock, peer = pair
    assert sock.write(b"0123456789", 2, 3) == 3
    assert sock.write(bytearray(b"0123456789"), 4) == 4
    assert sock.write("text") == 4
    assert peer.recv(99) == b"2340123text"
    sent = 0
    while (n := sock.write(bytes(1 << 20))) is not None:
        sent += n
    assert sent


def test_poll_speaks_of_objects(pair):
    sock, peer = pair
    poll = micro.select.poll()
    poll.register(sock, select.POLLIN)
    assert list(poll.ipoll(0)) == []
    poll.modify(sock, select.POLLOUT)
    assert list(poll.ipoll(0)) == [(sock, select.POLLOUT)]
    poll.modify(sock, select.POLLIN)
    peer.sendall(b"x")
    assert poll.poll(1000) == [(sock, select.POLLIN)]
    poll.unregister(sock)
    poll.unregister(sock)  # MicroPython does not mind
    with pytest.raises(OSError) as e:
        poll.modify(sock, select.POLLIN)
    assert e.value.errno == errno.ENOENT


def test_ticks_wrap():
    top = micro.TICKS
    assert micro.time.ticks_add(top - 1, 2) == 1
    assert micro.time.ticks_diff(1, top - 1) == 2
    assert micro.time.ticks_diff(top - 1, 1) == -2
    assert 0 <= micro.time.ticks_ms() < top


def test_nvs_keeps_what_was_committed():
    nvs = esp32.NVS("a")
    nvs.set_blob("k", b"value")
    buffer = bytearray(8)
    with pytest.raises(OSError):
        esp32.NVS("a").get_blob("k", buffer)
    nvs.commit()
    assert esp32.NVS("a").get_blob("k", buffer) == 5 and buffer[:5] == b"value"
    with pytest.raises(OSError):
        esp32.NVS("b").get_blob("k", buffer)


def test_umqtt_against_the_stand_in(standin):
    from umqtt.simple import MQTTClient, MQTTException

    device = standin.add_device("d", standin.registry.profiles()[0], "the-token")
    client = MQTTClient("", standin.host, standin.mqtt_port, "the-token", "", 60)
    heard = []
    client.set_callback(lambda topic, message: heard.append((topic, message)))
    assert client.connect() == 0
    client.subscribe(b"v1/devices/me/attributes", 1)
    client.publish(b"v1/devices/me/telemetry", b'{"a":1}', qos=1)
    standin.set_shared(device.name, {"s": 2})
    client.wait_msg()
    client.disconnect()
    assert heard == [(b"v1/devices/me/attributes", b'{"s": 2}')]
    assert [value for _, _, value in standin.telemetry("d")] == [1]
    with pytest.raises(MQTTException) as e:
        MQTTClient("", standin.host, standin.mqtt_port, "wrong", "").connect()
    assert e.value.args[0] == 5


def test_urequests():
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):  # noqa: N802 - the name is http.server's
            body = self.rfile.read(int(self.headers["Content-Length"]))
            self.send_response(201)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.handle_request, daemon=True).start()
        answer = urequests.post(f"http://127.0.0.1:{server.server_port}/x?y=1", json={"a": "ü"}, timeout=2)
    assert (answer.status_code, answer.json()) == (201, {"a": "ü"})
    assert answer.content == answer.text.encode()
    answer.close()


# TLS, under the firmware's own Wire


@pytest.fixture(scope="module")
def authority():
    return trustme.CA(key_type=trustme.KeyType.ECDSA)


def der(pem):
    """The DER bytes of a PEM blob."""
    return ssl.PEM_cert_to_DER_cert(pem.bytes().decode())


class Echo:
    """A TLS server that sends back what it reads, `delay` seconds late; `subjects` of client certificates."""

    def __init__(self, authority, name="localhost", want_client=False, delay=0):
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        authority.issue_cert(name).configure_cert(self.context)
        if want_client:
            self.context.verify_mode = ssl.CERT_REQUIRED
            authority.configure_trust(self.context)
        self.delay = delay
        self.over = threading.Event()
        self.subjects = []
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]

    def __enter__(self):
        self.thread = threading.Thread(target=self._serve, daemon=True)
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.over.set()
        self.listener.close()
        self.thread.join(5)

    def _serve(self):
        try:
            sock, _ = self.listener.accept()
            self.over.wait(self.delay)
            sock.settimeout(5)
            with self.context.wrap_socket(sock, server_side=True) as stream:
                self.subjects.append(stream.getpeercert())
                while data := stream.recv(65536):
                    stream.sendall(data)
        except OSError:
            pass  # the client did not like the certificate


def wire(port, authority, client=None, verify=True):
    """A Wire over TLS, its deadline some seconds away."""
    from firstboot import errand
    from firstboot.link import Wire

    Path("ca.der").write_bytes(der(authority.cert_pem))
    made = Wire()
    settings = config(server__host="localhost", server__port=port, tls__enabled=True, tls__verify=verify)
    errand("server", "prepare", made, settings)
    made.identity = client
    made.within(5000)
    return made


def dial(stream, first):
    """Connect and send `first`."""
    from firstboot import errand

    errand("link.dial", "tcp", stream, first)


def echo(stream, size):
    """Send `size` bytes and read them back."""
    data = bytes(i * 7 & 255 for i in range(size))
    dial(stream, data[:10])
    for start in range(10, size, 10_000):
        stream.write(data, start, min(10_000, size - start))
    back = bytearray(size)
    stream.fill(back)
    assert back == data
    stream.close()


@pytest.mark.parametrize("delay", [0, 0.2])
def test_a_stream_over_tls(authority, delay):
    with Echo(authority, delay=delay) as server:
        echo(wire(server.port, authority), 100_000)


def test_what_tls_holds_back_is_ready_to_read(authority):
    with Echo(authority) as server:
        stream = wire(server.port, authority)
        dial(stream, b"abcdefgh")
        for letter in b"abcdefgh":  # one record: after its first byte the socket itself has nothing
            stream.within(1000)
            assert stream.ready(None)
            one = bytearray(1)
            stream.fill(one)
            assert one[0] == letter
        stream.close()


def test_a_handshake_that_stalls_ends_at_the_deadline(authority):
    with Echo(authority, delay=1.5) as server:
        stream = wire(server.port, authority)
        stream.timeout = 300
        stream.within(300)
        with pytest.raises(LinkError, match="the TLS handshake took longer than 300 ms"), Stopwatch() as watch:
            echo(stream, 20)
        assert watch.seconds < 0.8
        stream.close()


def test_another_host_or_authority_is_refused(authority):
    with Echo(authority, "elsewhere") as server, pytest.raises(LinkError, match="another name"):
        echo(wire(server.port, authority), 20)
    with Echo(authority) as server, pytest.raises(LinkError, match="not signed by tls.ca"):
        echo(wire(server.port, trustme.CA()), 20)
    with Echo(trustme.CA(), "elsewhere") as server:
        echo(wire(server.port, authority, verify=False), 20)


def test_a_client_certificate(authority):
    from cryptography.hazmat.primitives.serialization import (
        Encoding,
        NoEncryption,
        PrivateFormat,
        load_pem_private_key,
    )

    leaf = authority.issue_cert("board-1", common_name="board-1", key_type=trustme.KeyType.ECDSA)
    key = load_pem_private_key(leaf.private_key_pem.bytes(), None)
    key = key.private_bytes(Encoding.DER, PrivateFormat.TraditionalOpenSSL, NoEncryption())
    with Echo(authority, want_client=True) as server:
        client = {"certificate": der(leaf.cert_chain_pems[0]), "key": key}
        client = {name: b64encode(data).decode() for name, data in client.items()}
        echo(wire(server.port, authority, client), 20)
    assert "board-1" in str(server.subjects[0]["subject"])


def test_wrong_use_of_tls():
    context = tls.SSLContext(tls.PROTOCOL_TLS_CLIENT)
    with pytest.raises(ValueError):
        context.load_verify_locations(b"garbage")
    with pytest.raises(ValueError):
        context.load_cert_chain(b"garbage", b"garbage")
    with pytest.raises(ValueError, match="server_hostname"):
        context.wrap_socket(micro.socket.socket())
