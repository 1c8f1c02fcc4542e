"""A first boot and telemetry on the VM over every transport, with its real `requests` and `tls`."""

import socket
import threading

import pytest

from tools.standin import Standin
from tools.standin.faults import Fault, TcpProxy, UdpProxy, Way, Weather
from tools.standin.provisioning import DISABLED, PRE_PROVISIONED
from tools.standin.registry import mqtt_basic

pytestmark = pytest.mark.vm

HOST = "127.0.0.1"
NAME = "board-1"
FLEET_SECRET = "the secret of a fleet"  # noqa: S105
WAYS = ("mqtt", "mqtts", "http", "https", "coap", "coaps")
# What `credentials` may say over each transport, and that is all of config.py's modes without a certificate.
MODES = ("token", "server", "basic", "derived")
ALLOWED = [(way, mode) for way in WAYS for mode in MODES if mode != "basic" or way.startswith("mqtt")]


@pytest.fixture
def board(make_board, secure):
    """Make a board that reaches the stand-in this way."""

    def make(way, mode="token", port=None, key="profile-key", tls=None, **more):
        transport = way.removesuffix("s")
        more["provision"] = {"name": NAME, "key": key}
        if mode == "derived":
            more["provision"]["fleet_secret"] = FLEET_SECRET
        files = {"/ca.der": secure.ca_der.read_bytes()}
        port = port or getattr(secure, way + "_port")
        return make_board(port, transport, files, tls=tls or {"enabled": way != transport}, credentials=mode, **more)

    return make


def counts(standin, name=NAME):
    return [value for key, _, value in standin.received(name) if key == "count"]


def has_sent(standin, least=3):
    def found(run):
        return bool(run.ended) or any(d.name == NAME for d in standin.devices()) and len(counts(standin)) >= least

    return found


@pytest.mark.parametrize("way, mode", ALLOWED)
def test_a_new_device(secure, board, way, mode):
    run = board(way, mode).run(has_sent(secure))
    assert run.ended == "found", run.log
    assert [device.name for device in secure.devices()] == [NAME]
    assert secure.provision_requests == [NAME]
    device = secure.device(NAME)
    assert device.credentials.type == ("MQTT_BASIC" if mode == "basic" else "ACCESS_TOKEN")
    assert counts(secure)[:3] == [1, 2, 3]
    assert secure.attributes(NAME)["firstboot_version"]
    assert device.credentials.id not in run.log


@pytest.mark.parametrize("way, mode", ALLOWED)
def test_a_prepared_device(secure, board, way, mode):
    profile = secure.add_profile("prepared", PRE_PROVISIONED, "other-key")
    # What the server holds wins over what the board asks for.
    secure.add_device(NAME, profile, mqtt_basic("client", "user", "pass") if mode == "basic" else "prepared-token")
    run = board(way, mode, key="other-key").run(has_sent(secure))
    assert run.ended == "found", run.log
    assert secure.provision_requests == [NAME]
    assert counts(secure)[:3] == [1, 2, 3]


@pytest.mark.parametrize("way", WAYS)
def test_provisioning_is_switched_off(secure, board, way):
    secure.add_profile("closed", DISABLED, "other-key")
    run = board(way, key="other-key").run("next try in", 20)
    assert run.ended == "found", run.log
    assert run.has("provision: the server answers NOT_FOUND")
    assert run.has("provision: look at provision.key and provision.secret")
    assert not secure.devices()


@pytest.mark.parametrize("way", ["http", "https", "coap", "coaps"])
def test_credentials_that_the_transport_can_not_carry(secure, board, way):
    profile = secure.add_profile("prepared", PRE_PROVISIONED, "other-key")
    secure.add_device(NAME, profile, mqtt_basic("client", "user", "pass"))
    run = board(way, key="other-key").run("carries access tokens only", 20)
    assert run.has(f"{way.removesuffix('s')} carries access tokens only, this device has MQTT_BASIC"), run.log
    assert "pass" not in run.log.replace("password", "")


@pytest.mark.parametrize("way", ["http", "https", "coap"])
def test_a_config_that_can_not_work(board, way):
    run = board(way, "basic").run("config: waiting", 20)
    assert run.has("config: credentials basic works over mqtt only, and transport is " + way.removesuffix("s")), run.log


@pytest.mark.parametrize("doc", [b'{"a": "%s"}' % bytes(300000), b"[%s[]]" % (b"[]," * 40000)], ids=["text", "lists"])
def test_a_config_that_the_memory_does_not_hold(secure, board, doc):
    made = board("mqtt")
    good = made.image.get("/config.json")
    made.image.put({"/config.json": doc})
    run = made.run("config: waiting", 20)
    assert run.has("config: config.json is more than the memory holds"), run.log
    made.image.put({"/config.json": good})
    run = made.run(has_sent(secure))
    assert run.ended == "found", run.log


@pytest.mark.parametrize("way", ["http", "https", "coap", "coaps"])
def test_revoked_credentials(secure, board, way):
    made = board(way)
    with made:
        assert made.wait(has_sent(secure)), made.run_so_far.log
        secure.delete_device(NAME)
        # The board sees 401, tries it five times, and provisions itself anew with the token that it has.
        assert made.wait(lambda run: run.boots > 1 and has_sent(secure)(run)), made.run_so_far.log
    assert secure.provision_requests == [NAME] * 2


@pytest.mark.parametrize("way", ["mqtt", "http", "coap"])
def test_an_unreachable_server(board, secure, way):
    run = board(way, port=9).run("can't be reached: .*", 20)
    assert run.has("provision: no answer: (127.0.0.1:9 refused|.*ECONNREFUSED|no answer within 2000 ms)"), run.log


@pytest.mark.parametrize("way", ["mqtt", "http", "coap"])
def test_a_host_that_does_not_resolve(board, way):
    run = board(way, server={"host": "no-such-host.invalid"}).run("no answer: .*", 20)
    assert run.has("provision: no answer: server.host no-such-host.invalid does not resolve"), run.log


def test_coap_without_its_library(board):
    made = board("coap")
    for path in list(made.image.ls()):
        if "microcoapy" in path:
            made.image.remove(path)
    run = made.run("mip install", 20)
    assert run.has("transport coap needs microCoAPy: mpremote mip install github:insighio/microCoAPy"), run.log


def test_what_plain_mqtt_does_without(secure, board):
    """Its first boot needs none of the files of the other transports, of TLS and of the clock: none is loaded."""
    made = board("mqtt")
    for path in list(made.image.ls()):
        if any(part in path for part in ("link/http", "link/coap", "link/tls", "clock", "x509")):
            made.image.remove(path)
    run = made.run(has_sent(secure))
    assert run.ended == "found", run.log


# HTTP


@pytest.mark.parametrize("way", ["http", "https"])
@pytest.mark.parametrize("cut", [0, 30, -3], ids=["before the answer", "in the headers", "in the body"])
def test_the_answer_is_cut(secure, board, way, cut):
    target = getattr(secure, way + "_port")
    # A run without a fault tells how long the answer to the provisioning request is.
    with TcpProxy(target) as proxy:
        board(way, port=proxy.port).run(has_sent(secure))
        answer = proxy.links[0].passed_down
    secure.delete_device(NAME)
    secure.provision_requests.clear()
    at = cut if cut >= 0 else answer + cut
    if way == "https" and cut >= 0:
        at = answer - 200 + cut
    with TcpProxy(target, lambda number: Fault(down=Way(cut=at)) if number == 0 else Fault()) as proxy:
        run = board(way, port=proxy.port).run(has_sent(secure))
        assert proxy.links[0].ended.startswith("cut")
    assert run.ended == "found", run.log
    assert run.has("provision: no answer: .*closed the connection")
    # The answer was lost, the board's own credentials were not.
    assert secure.provision_requests == [NAME]
    assert len(secure.devices()) == 1


@pytest.mark.parametrize("way", ["http", "https"])
def test_connections_end_at_every_place(secure, board, way):
    """Telemetry comes through in order, whatever place of the answers the connections end at."""
    target = getattr(secure, way + "_port")

    # With TLS the first connections end in the handshake, of some 1,000 bytes.
    least, most = (100, 900) if way == "http" else (700, 2200)

    def plan(number):
        return Fault(down=Way(cut=least + number * 137 % (most - least))) if number else Fault()

    with TcpProxy(target, plan) as proxy:
        run = board(way, port=proxy.port, period=0.01).run(has_sent(secure, 150), 60)
        assert len(proxy.links) > 5
    assert run.ended == "found", run.log
    sent = counts(secure)
    # What was not acknowledged is sent again: nothing is missing, and everything comes in its place first.
    assert list(dict.fromkeys(sent)) == list(range(1, max(sent) + 1))


def test_closed_after_each_answer(secure, board):
    def answer_and_close(listener):
        while True:
            try:
                sock, _ = listener.accept()
            except OSError:
                return
            with sock, socket.create_connection((HOST, secure.http_port)) as back:
                back.sendall(sock.recv(65536))
                sock.sendall(back.recv(65536))
                asked.append(1)

    asked = []
    with socket.create_server((HOST, 0)) as listener:
        threading.Thread(target=answer_and_close, args=(listener,), daemon=True).start()
        run = board("http", port=listener.getsockname()[1]).run(has_sent(secure, 5))
        listener.shutdown(socket.SHUT_RDWR)
    assert run.ended == "found", run.log
    assert counts(secure)[:5] == [1, 2, 3, 4, 5]
    assert not run.has("connection lost")
    assert len(asked) >= 7


# CoAP

# Two hundred boards in one: each is a provisioning with a store and a link of its own.
MANY = b"""
import os, time
from firstboot import wifi
from firstboot.config import load
from firstboot.link.coap import Link
from firstboot.provision import Provisioner
from firstboot.store import Store, VERIFIED

class Slot:
    data = b""

    def get_blob(self, key, buffer):
        buffer[: len(self.data)] = self.data
        return len(self.data)

    def set_blob(self, key, data):
        self.data = data

    def commit(self):
        pass

wifi.join("lab", "lab-password", 5)
config = load("config.json")
for n in range(%d):
    store = Store([Slot(), Slot()])
    link = Link(config)
    own = {"credentialsType": "ACCESS_TOKEN", "token": os.urandom(16).hex()}
    key, secret = config["provision.key"], config["provision.secret"]
    Provisioner(link, store, "many-%%d" %% n, key, secret, lambda: own, lambda is_slow: time.sleep_ms(5)).run()
    for _ in range(50):
        try:
            if not link.sock:
                link.open(store.credentials)
            link.send(b'{"n":%%d}' %% n)
            break
        except OSError:
            pass
    link.close()
    assert store.state == VERIFIED
    print("done", n, store.credentials["token"])
print("all done")
"""


@pytest.mark.parametrize("delay, boards", [(0, 200), (0.04, 20)], ids=["piggybacked", "separate"])
def test_provisioning_over_a_bad_network(make_board, delay, boards):
    weather = Weather(drop=0.3, double=0.3, reorder=0.3, late=0.01)
    with Standin(scale=0.05) as standin:
        standin.add_profile()
        standin.coap.delay = delay
        with UdpProxy(standin.coap_port, weather, weather, seed=7252) as network:
            made = make_board(
                network.port, "coap", {"/main.py": MANY % boards}, server={"timeout": 0.8 if delay else 0.2}
            )
            run = made.run("all done|Traceback", 110)
            assert run.has("all done"), run.log[-2000:]
            assert network.count(fate="drop") > boards
            assert network.count(fate="reorder") > boards
            # An empty ACK, and the response on its own: of each request, or of none but the odd slow one.
            separate = sum(d.data[:1] == b"\x44" for d in list(network.datagrams) if d.way == "down")
            assert separate > boards if delay else separate < boards
        assert len(standin.devices()) == boards
        tokens = {line.split()[2] for _, line in run.lines if line.startswith("done ")}
        assert tokens == {device.credentials.id for device in standin.devices()}
        assert all(standin.telemetry(f"many-{n}") for n in range(boards))


def test_telemetry_without_acknowledgement(secure, board):
    run = board("coap", coap={"confirmable": False}).run(has_sent(secure, 5))
    assert run.ended == "found", run.log
    assert counts(secure)[:5] == [1, 2, 3, 4, 5]
