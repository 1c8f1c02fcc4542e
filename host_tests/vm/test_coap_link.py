"""link/coap.py on CPython against the stand-in: a network that loses, doubles and reorders, and a scripted peer."""

import heapq
import json
import os
import random
import select
import socket
import threading
import time

import pytest

from tools.standin import Standin

SCALE = 0.05  # the stand-in acknowledges empty after 25 ms, and repeats its own messages after 100 to 150 ms
CON, NON, ACK, RST = range(4)
TOKEN = {"credentialsType": "ACCESS_TOKEN", "token": "token-of-board-1"}


@pytest.fixture
def server():
    with Standin(scale=SCALE) as standin:
        standin.profile = standin.add_profile()
        yield standin


def make_link(port, timeout=0.5, **more):
    from firstboot.link.coap import Link

    config = {"server.host": "127.0.0.1", "server.port": port, "server.timeout": timeout, "server.frame": 4096}
    config.update({"coap.confirmable": True, "tls.enabled": False})
    return Link({**config, **more})


class BadNetwork(threading.Thread):
    """A UDP proxy on loopback: each datagram, in both directions, may be lost, come twice, and come late."""

    def __init__(self, port, seed, loss=0.3, double=0.2, delay=0.006):
        super().__init__(daemon=True)
        self.random = random.Random(seed)
        self.loss, self.double, self.delay = loss, double, delay
        self.server = ("127.0.0.1", port)
        self.front = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.front.bind(("127.0.0.1", 0))
        self.port = self.front.getsockname()[1]
        self.backs = {}  # client's address -> its own socket towards the server
        self.clients = {}
        self.lost = self.overtaken = self.number = 0
        self.empty = self.separate = 0  # empty ACKs, and confirmable responses with all their repetitions
        self.late = []
        self.latest = 0
        self.running = True

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *_):
        self.running = False
        self.join()
        for sock in (self.front, *self.clients):
            sock.close()

    def run(self):
        poll = select.poll()
        poll.register(self.front, select.POLLIN)
        sockets = {self.front.fileno(): self.front}
        while self.running:
            wait = min(20, max(0, (self.late[0][0] - time.monotonic()) * 1000)) if self.late else 20
            for number, _ in poll.poll(wait):
                sock = sockets[number]
                try:
                    data, address = sock.recvfrom(2048)
                except OSError:
                    continue
                if sock is not self.front:
                    self.empty += data[:2] == b"\x60\0"
                    self.separate += data[0] >> 4 == 4
                    self._take(data, self.front, self.clients[sock])
                    continue
                back = self.backs.get(address)
                if back is None:
                    back = self.backs[address] = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
                    back.connect(self.server)
                    self.clients[back] = address
                    sockets[back.fileno()] = back
                    poll.register(back, select.POLLIN)
                self._take(data, back, self.server)
            while self.late and self.late[0][0] <= time.monotonic():
                _, number, data, sock, address = heapq.heappop(self.late)
                self.overtaken += number < self.latest
                self.latest = max(self.latest, number)
                try:
                    sock.sendto(data, address)
                except OSError:
                    continue

    def _take(self, data, sock, address):
        if self.random.random() < self.loss:
            self.lost += 1
            return
        for _ in range(2 if self.random.random() < self.double else 1):
            self.number += 1
            due = time.monotonic() + self.random.random() * self.delay
            heapq.heappush(self.late, (due, self.number, data, sock, address))


def provision(port, name, timeout):
    """What a board does, in memory; returns its store and its link, which is open."""
    import esp32
    from firstboot.provision import Provisioner
    from firstboot.store import Store

    store = Store([esp32.NVS(object()), esp32.NVS(object())])  # a name for each that no other has
    link = make_link(port, timeout)
    own = {"credentialsType": "ACCESS_TOKEN", "token": os.urandom(16).hex()}
    Provisioner(
        link, store, name, "profile-key", "profile-secret", lambda: own, lambda is_slow: time.sleep(0.005)
    ).run()
    return store, link


def until_acknowledged(link, credentials, payload):
    for _ in range(20):
        try:
            if not link.sock:
                link.open(credentials)
            return link.send(payload)
        except OSError:
            assert link.sock is None
    raise AssertionError("20 times without an acknowledgement")


def test_provisioning_over_a_bad_network(server):
    from firstboot.store import VERIFIED

    with BadNetwork(server.coap_port, seed=7252) as network:
        for n in range(40):  # test_transports.py has two hundred of them, on the VM
            store, link = provision(network.port, f"board-{n}", timeout=0.25)
            link.close()
            assert store.state == VERIFIED
            assert server.device(f"board-{n}").credentials.id == store.credentials["token"]
    assert len(server.devices()) == 40
    assert network.lost > 40
    assert network.overtaken > 4


def test_separate_responses_over_a_bad_network(server):
    server.coap.delay = 0.04
    with BadNetwork(server.coap_port, seed=522) as network:
        for n in range(8):
            store, link = provision(network.port, f"slow-{n}", timeout=0.8)
            assert server.device(f"slow-{n}").credentials.id == store.credentials["token"]
            for i in range(2):
                until_acknowledged(link, store.credentials, b'{"n":%d}' % i)
            link.close()
            assert {value for _, _, value in server.received(f"slow-{n}")} == {0, 1}
    assert len(server.devices()) == 8
    assert network.empty > 16
    assert network.separate > 40  # there were four requests of each board: most responses came more than once


def test_a_device_reports(server):
    server.add_device("board-1", server.profile, TOKEN["token"])
    link = make_link(server.coap_port)
    link.open(TOKEN)
    link.send(b'{"temperature":21.5}')
    link.report(b'{"read_errors":0}')
    link.listen(20)
    link.close()
    link.close()
    assert [(name, value) for name, _, value in server.telemetry("board-1")] == [("temperature", 21.5)]
    assert set(server.attributes("board-1")) == {"firstboot_version", "read_errors"}


def test_a_refusal_is_an_answer(server):
    link = make_link(server.coap_port)
    request = {"deviceName": "x", "provisionDeviceKey": "profile-key", "provisionDeviceSecret": "wrong"}
    assert json.loads(link.ask(json.dumps(request).encode()))["status"] == "NOT_FOUND"
    assert link.ask(b"") == b"\x08\x02"


@pytest.mark.parametrize(
    ("request_", "reason"), [(b"{", "malformed request"), (b"x" * 1000, "do not fit into a packet")]
)
def test_what_the_server_can_not_read(server, request_, reason):
    link = make_link(server.coap_port)
    with pytest.raises(OSError, match=reason):
        link.ask(request_)
    assert link.sock is None


def test_the_largest_message(server):
    server.add_device("board-1", server.profile, TOKEN["token"])
    link = make_link(server.coap_port)
    link.open(TOKEN)
    room = 1023 - 9 - len("api") - len("v1") - len(TOKEN["token"]) - len("telemetry") - 5
    link.send(b'{"text":"%s"}' % (b"x" * (room - 11)))
    assert len(server.telemetry("board-1")[0][2]) == room - 11
    with pytest.raises(OSError, match="1024 bytes"):
        link.send(b'{"text":"%s"}' % (b"x" * (room - 10)))


def test_denied(server):
    from firstboot.link import Denied

    link = make_link(server.coap_port)
    with pytest.raises(Denied, match="4.01"):
        link.open(TOKEN)
    assert link.sock is None


def test_revoked(server):
    from firstboot.link import Denied

    server.add_device("board-1", server.profile, TOKEN["token"])
    link = make_link(server.coap_port)
    link.open(TOKEN)
    server.delete_device("board-1")
    with pytest.raises(Denied, match="4.01"):
        link.send(b'{"a":1}')
    assert link.sock is None


def test_tokens_only():
    link = make_link(1)
    with pytest.raises(OSError, match="access tokens only"):
        link.open({"credentialsType": "MQTT_BASIC", "clientId": "c", "username": None, "password": None})


def test_nobody_there():
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.bind(("127.0.0.1", 0))
    port = sock.getsockname()[1]
    sock.close()
    link = make_link(port, 0.2)
    began = time.monotonic()
    with pytest.raises(OSError, match="no answer within 200 ms"):
        link.ask(b"{}")
    assert 0.19 < time.monotonic() - began < 2


def test_unacknowledged_telemetry(server):
    from firstboot.link import Denied

    server.add_device("board-1", server.profile, TOKEN["token"])
    link = make_link(server.coap_port, **{"coap.confirmable": False})
    link.open(TOKEN)
    link.send(b'{"a":1}')
    link.listen(50)
    assert len(server.telemetry("board-1")) == 1
    server.delete_device("board-1")
    link.send(b'{"a":2}')
    with pytest.raises(Denied, match="4.01"):
        link.listen(500)
    assert link.sock is None


def test_unacknowledged_telemetry_to_a_server_that_is_away():
    """Nothing was heard since the last one: this one must be acknowledged, or nobody would ever notice."""
    from firstboot.link import LinkError

    kinds = []

    def script(peer):
        for answer in (ACK, NON, None, None):
            kind, _, mid, token, _ = peer.read()
            kinds.append(kind)
            if answer is not None:
                peer.send(answer, 0x44, mid, token)

    with Peer(script) as peer:
        link = make_link(peer.port, **{"coap.confirmable": False})
        link.user = b"token"
        link.report(b"{}")
        link.send(b'{"a":1}')
        link.listen(100)
        link.send(b'{"a":2}')
        with pytest.raises(LinkError):
            link.send(b'{"a":3}')
    assert kinds == [CON, NON, NON, CON] and link.sock is None


class Peer(threading.Thread):
    """A server that does what `script(peer)` says; what that raises comes out of the with block."""

    def __init__(self, script):
        super().__init__(daemon=True)
        self.script = script
        self.error = None
        self.sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.sock.bind(("127.0.0.1", 0))
        self.sock.settimeout(3)
        self.port = self.sock.getsockname()[1]

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, kind, *_):
        self.join(5)
        self.sock.close()
        if self.error and kind is None:
            raise self.error

    def run(self):
        try:
            self.script(self)
        except Exception as e:  # noqa: BLE001 - raised again where the test can see it
            self.error = e

    def read(self):
        """One packet: (type, code, message id, token, the datagram)."""
        data, self.client = self.sock.recvfrom(2048)
        assert data[0] >> 6 == 1
        size = data[0] & 15
        return data[0] >> 4 & 3, data[1], int.from_bytes(data[2:4], "big"), data[4 : 4 + size], data

    def send(self, kind, code, mid, token=b"", payload=b""):
        body = b"\xff" + payload if payload else b""
        self.sock.sendto(
            bytes((0x40 | kind << 4 | len(token), code)) + mid.to_bytes(2, "big") + token + body, self.client
        )

    def silent(self, seconds):
        self.sock.settimeout(seconds)
        with pytest.raises(TimeoutError):
            print(self.read())
        self.sock.settimeout(3)


def test_repetitions_are_the_same_datagram_and_back_off():
    times, packets = [], []

    def script(peer):
        for _ in range(4):
            packets.append(peer.read())
            times.append(time.monotonic())
        peer.send(ACK, 0x44, packets[0][2], packets[0][3], b"yes")

    with Peer(script) as peer:
        assert make_link(peer.port, 0.8).ask(b"{}") == b"yes"
    kind, code, mid, token, data = packets[0]
    assert (kind, code) == (CON, 2)
    assert len(token) == 4
    assert mid > 0
    assert {packet[4] for packet in packets} == {data}
    gaps = [b - a for a, b in zip(times, times[1:], strict=False)]
    assert gaps[0] > 0.045
    assert gaps[1] > 1.5 * gaps[0]
    assert gaps[2] > 1.5 * gaps[1]


def test_first_wait_of_a_long_deadline():
    def script(peer):
        first = peer.read()
        peer.silent(1.9)
        again = peer.read()
        assert again == first
        peer.send(ACK, 0x44, first[2], first[3], b"yes")

    with Peer(script) as peer:
        assert make_link(peer.port, 60).ask(b"{}") == b"yes"


def test_separate_response_that_is_repeated():
    def script(peer):
        _, _, mid, token, _ = peer.read()
        peer.send(ACK, 0, mid ^ 1)  # of another message: goes on repeating
        assert peer.read()[2] == mid
        peer.send(ACK, 0, mid)
        peer.silent(0.25)  # acknowledged: no repetition any more
        for _ in range(3):
            peer.send(CON, 0x44, 777, token, b"late")
            assert peer.read()[4] == b"\x60\x00\x03\x09"
        peer.send(CON, 0, 9)  # a CoAP ping
        assert peer.read()[4] == b"\x70\x00\x00\x09"

    with Peer(script) as peer:
        link = make_link(peer.port, 1)
        assert link.ask(b"{}") == b"late"
        link.listen(200)


def test_the_answer_to_an_earlier_question_is_not_the_next_one():
    def script(peer):
        _, _, mid, token, _ = peer.read()
        peer.send(ACK, 0x44, mid, token)
        _, _, mid2, token2, _ = peer.read()
        assert mid2 != mid
        assert token2 != token
        peer.send(ACK, 0x44, mid, token)  # late copy of the first answer
        peer.send(ACK, 0x81, mid, token2)
        peer.send(ACK, 0x81, mid2, token)
        peer.send(RST, 0, mid)
        peer.send(CON, 0x81, 5, token)
        assert peer.read()[4] == b"\x60\x00\x00\x05"
        peer.send(CON, 1, 6, token2)  # a request
        assert peer.read()[4] == b"\x70\x00\x00\x06"
        for junk in (b"", b"\x40", b"\xff" * 40, b"\x4f" * 20, b"\x44\x44\x00\x01abcd\xdd", bytes(1500)):
            peer.sock.sendto(junk, peer.client)
        peer.send(NON, 0x44, 1, token2)  # a response as a message of its own, without an ACK before it

    with Peer(script) as peer:
        link = make_link(peer.port, 1)
        link.user = b"t"
        link.report(b"{}")
        link.send(b"{}")


@pytest.mark.parametrize(
    ("kind", "code", "reason"),
    [(RST, 0, "rejects"), (ACK, 0x84, "4.04"), (ACK, 0xA0, "5.00"), (ACK, 0x81, "4.01"), (ACK, 0x80, "malformed")],
)
def test_other_ends(kind, code, reason):
    def script(peer):
        _, _, mid, token, _ = peer.read()
        peer.send(kind, code, mid, token if code else b"")

    with Peer(script) as peer:
        link = make_link(peer.port, 1)
        with pytest.raises(OSError, match=reason):
            link.ask(b"{}")
        assert link.sock is None


def test_the_watchdog_is_fed_while_waiting():
    import firstboot

    class Dog:
        fed = 0

        def feed(self):
            self.fed += 1

    firstboot.watchdog = Dog()
    try:
        with pytest.raises(OSError, match="no answer"):
            make_link(9, 0.1).ask(b"{}")
        link = make_link(9)
        link.listen(1200)
        assert firstboot.watchdog.fed >= 3
    finally:
        firstboot.watchdog = None
