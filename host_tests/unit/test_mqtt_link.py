"""The MQTT link against a server that is scripted byte by byte."""

import contextlib
import threading
import time
from types import SimpleNamespace

import firstboot
import micro
import pytest
from firstboot.link import Denied, LinkError
from firstboot.link.mqtt import Link

from .fakes import OWN, config
from .peer import Peer, Stopwatch, publish

TIMEOUT = 0.2  # seconds, server.timeout of the links here
LONG = {"server__timeout": 10}  # for what must not wait until the deadline
RESPONSE = b"/provision/response"
SLACK = 0.5  # a busy machine's


def link(port, **changes):
    """A link to a peer on loopback."""
    return Link(config(server__port=port, **{"server__timeout": TIMEOUT, **changes}))


def opened(port, **changes):
    """The same, logged in as a device."""
    made = link(port, **changes)
    made.open(OWN)
    return made


@contextlib.contextmanager
def fails(script, made=link, *, error=LinkError, match=None, least=0, most=TIMEOUT + SLACK, **changes):
    """A link to a peer with this script: what is done with it raises `error`, after `least` to `most` seconds."""
    with Peer(script) as peer:
        one = made(peer.port, **changes)
        with pytest.raises(error, match=match), Stopwatch() as watch:
            yield one
        assert least <= watch.seconds < most
        one.close()


def accept(session):
    """Let the device in and wait until it has gone."""
    session.connect()
    session.wait_closed()


# Provisioning


def asked(session):
    """The start of a provision session; returns the packet id of the request."""
    _, _, fields = session.connect()
    assert fields[:2] == [b"", b"provision"]
    packet_id, topic, payload = session.published()
    assert (topic, payload) == (b"/provision/request", b"the request")
    return packet_id


@pytest.mark.parametrize("qos", [0, 1])
@pytest.mark.parametrize("puback", ["before", "after", "never"])
def test_ask(qos, puback):
    said = []

    def script(session):
        packet_id = asked(session)
        if puback == "before":
            session.puback(packet_id)
        session.send(publish(RESPONSE, b"the answer", qos))
        if puback == "after":
            session.puback(packet_id)
        said.append(session.wait_closed())

    with Peer(script) as peer:
        provisioning = link(peer.port)
        assert provisioning.ask(b"the request") == b"the answer"
        provisioning.close()
    assert said == [(b"\x40\x02\x00\x07" if qos else b"") + b"\xe0\x00"]


def test_ask_overlooks_other_topics():
    def script(session):
        session.puback(asked(session))
        session.send(publish(b"elsewhere", b"no") + b"\xd0\0" + publish(RESPONSE, b"yes", 1))
        session.wait_closed()

    with Peer(script) as peer:
        provisioning = link(peer.port)
        assert provisioning.ask(b"the request") == b"yes"
        provisioning.close()


def test_an_answer_in_single_bytes():
    def script(session):
        session.puback(asked(session))
        for byte in publish(RESPONSE, b"x" * 300, 1):
            session.send(bytes((byte,)))
        session.wait_closed()

    with Peer(script) as peer:
        provisioning = link(peer.port)
        assert provisioning.ask(b"the request") == b"x" * 300
        provisioning.close()


@pytest.mark.parametrize("puback", [True, False])
def test_a_server_that_closes_without_an_answer(puback):
    def script(session):
        packet_id = asked(session)
        if puback:
            session.puback(packet_id)

    with fails(script, error=OSError, most=SLACK, **LONG) as provisioning:
        provisioning.ask(b"the request")


def test_a_server_that_never_answers():
    def script(session):
        session.puback(asked(session))
        session.wait_closed()

    with fails(script) as provisioning:
        provisioning.ask(b"the request")


@pytest.mark.parametrize("size", [1, 2, 3, 4, 20, -1])
def test_a_stall_in_the_middle_of_a_packet_ends_at_the_deadline(size):
    def script(session):
        asked(session)
        session.send(publish(RESPONSE, b"x" * 200, 1)[:size])
        session.wait_closed()

    with fails(script, least=TIMEOUT - 0.1) as provisioning:
        provisioning.ask(b"the request")


def test_bytes_that_drip_do_not_move_the_deadline():
    def script(session):
        asked(session)
        try:
            for byte in publish(RESPONSE, b"x" * 60, 1):
                session.send(bytes((byte,)))
                time.sleep(0.05)
        except OSError:
            pass  # the board has hung up

    with fails(script) as provisioning:
        provisioning.ask(b"the request")


def test_a_frame_larger_than_allowed_is_passed_over(capsys):
    """What the server keeps would come again after each reconnect: it is not the end of the connection."""
    said = []

    def script(session):
        asked(session)
        session.send(publish(RESPONSE, bytes(70_000), 1) + publish(b"v1/devices/me/attributes", bytes(5000)))
        session.send(publish(RESPONSE, b"the answer"))
        said.append(session.wait_closed())

    with Peer(script) as peer:
        provisioning = link(peer.port, server__frame=4096)
        assert provisioning.ask(b"the request") == b"the answer"
        provisioning.close()
    assert said == [b"\xe0\x00"]  # acknowledged, the server would forget it
    assert capsys.readouterr().out.count("more than server.frame allows, ignored") == 2


@pytest.mark.parametrize("verb", ["ask", "send"])
def test_a_server_that_talks_without_a_pause_is_not_listened_to_for_ever(verb):
    def script(session):
        session.connect()
        session.packet()
        with contextlib.suppress(OSError):
            while True:
                session.send(b"\xd0\x00" * 100)

    made = link if verb == "ask" else opened
    with fails(script, made, least=TIMEOUT - 0.01) as one:
        getattr(one, verb)(b"{}")


BROKEN = {
    "endless length": b"\x30\xff\xff\xff\xff\xff\xff",
    "topic longer than the packet": b"\x30\x04\x00\x09ab",
    "no topic": b"\x30\x00",
    "half a topic length": b"\x30\x01\x00",
    "no packet id": b"\x32\x04\x00\x02ab",
    "half a packet id": b"\x32\x05\x00\x02ab\x00",
}


@pytest.mark.parametrize("data", BROKEN.values(), ids=BROKEN)
def test_a_malformed_packet_is_an_oserror(data):
    def script(session):
        asked(session)
        session.send(data)
        session.wait_closed()

    with fails(script, error=OSError) as provisioning:
        provisioning.ask(b"the request")


# Connecting

CASES = [
    ({"credentialsType": "ACCESS_TOKEN", "token": "t0ken"}, [b"", b"t0ken", b""]),
    ({"credentialsType": "MQTT_BASIC", "clientId": "c", "username": "u", "password": "p"}, [b"c", b"u", b"p"]),
    ({"credentialsType": "MQTT_BASIC", "clientId": "c", "username": None, "password": None}, [b"c"]),
    ({"credentialsType": "MQTT_BASIC", "clientId": None, "username": "Ünï", "password": "板"}, None),
]


@pytest.mark.parametrize(("credentials", "expected"), CASES)
def test_open_sends_the_credentials(credentials, expected):
    seen = []

    def script(session):
        seen.append(session.connect())
        session.wait_closed()

    with Peer(script) as peer:
        device = link(peer.port, server__keepalive=77)
        device.open(credentials)
        device.close()
    flags, keepalive, fields = seen[0]
    assert fields == (expected or [b"", "Ünï".encode(), "板".encode()])
    assert keepalive == 77
    assert flags == (0xC2 if len(fields) == 3 else 0x02)


@pytest.mark.parametrize(("code", "error"), [(1, LinkError), (2, Denied), (3, LinkError), (4, Denied), (5, Denied)])
def test_connack(code, error):
    with Peer(lambda session: session.connect(code)) as peer:
        device = link(peer.port)
        with pytest.raises(error, match=str(code)):
            device.open(OWN)
        device.close()


@pytest.mark.parametrize("code", [1, 2, 3, 4, 5])
def test_a_refused_provision_session_says_nothing_about_credentials(code):
    with Peer(lambda session: session.connect(code)) as peer:
        provisioning = link(peer.port)
        with pytest.raises(LinkError):
            provisioning.ask(b"the request")
        provisioning.close()


@pytest.mark.parametrize("greeting", [b"HTTP/1.1 400 Bad Request\r\n\r\n", b"SSH-2.0-x\r\n"])
def test_a_server_that_does_not_speak_mqtt(greeting):
    def script(session):
        session.send(greeting)
        session.wait_closed()

    with Peer(script) as peer:
        device = link(peer.port)
        with pytest.raises(LinkError, match="MQTT"):
            device.open(OWN)
        device.close()


def test_a_server_that_wants_tls():
    with Peer(lambda session: session.send(b"\x15\x03\x01\0\x02\x02\x28"), lambda session: None) as peer:
        device = link(peer.port)
        for reason in ("server.port speaks TLS", "is it right that tls.enabled is false"):
            with pytest.raises(LinkError, match=reason):
                device.open(OWN)
            device.close()


def test_a_server_that_is_silent():
    with fails(lambda session: session.wait_closed()) as device:
        device.open(OWN)


def test_a_closed_port():
    with Peer() as peer:
        peer.listener.close()
        device = link(peer.port, **LONG)
        with pytest.raises(OSError), Stopwatch() as watch:
            device.open(OWN)
        assert watch.seconds < SLACK
        device.close()


def test_a_name_that_does_not_resolve_is_told(monkeypatch):
    def fail(*_):
        raise OSError(-2)

    monkeypatch.setattr(micro.socket, "getaddrinfo", fail)
    with pytest.raises(LinkError, match=r"server\.host"):
        link(1883).open(OWN)


def test_opening_again_after_a_failure():
    with Peer(lambda session: session.connect(5), accept) as peer:
        device = link(peer.port)
        with pytest.raises(Denied):
            device.open(OWN)
        device.open(OWN)
        device.close()


def test_close_in_any_state():
    with Peer(accept, lambda session: session.connect()) as peer:
        device = link(peer.port)
        device.close()
        device.open(OWN)
        device.close()
        device.close()
        device.open(OWN)
        peer.thread.join(5)  # the server has gone
        device.close()


def test_connect_leaves_in_one_write(writes):
    with Peer(accept) as peer:
        device = opened(peer.port)
        assert len(writes) == 1
        device.close()


# Publishing


@pytest.fixture
def writes(monkeypatch):
    """The size of every write to a socket."""
    sizes = []
    write = micro.Socket.write

    def recorded(sock, data, *span):
        done = write(sock, data, *span)
        sizes.append(done)
        return done

    monkeypatch.setattr(micro.Socket, "write", recorded)
    return sizes


def reader(count, heard):
    """A script that takes `count` publishes and acknowledges each."""

    def script(session):
        session.connect()
        for _ in range(count):
            packet_id, topic, payload = session.published()
            heard.append((int.from_bytes(packet_id, "big"), topic, payload))
            session.puback(packet_id)
        session.wait_closed()

    return script


def test_a_publish_leaves_in_one_write(writes):
    heard = []
    with Peer(reader(3, heard)) as peer:
        device = opened(peer.port)
        del writes[:]
        for payload in (b'{"a":1}', b'{"a":22222}', b'{"b":"' + b"x" * 3000 + b'"}'):
            device.send(payload)
        assert len(writes) == 3
        device.close()
    assert [payload for _, _, payload in heard] == [b'{"a":1}', b'{"a":22222}', b'{"b":"' + b"x" * 3000 + b'"}']
    assert len({packet_id for packet_id, _, _ in heard}) == 3


def test_telemetry_and_attributes_have_their_topics():
    heard = []
    with Peer(reader(4, heard)) as peer:
        device = opened(peer.port)
        device.send(b"{}")
        device.report(b'{"v":1}')
        device.send(b'{"x":2}')
        device.publish(b"v1/devices/me/rpc/response/1", b"7")
        device.close()
    assert [message[1:] for message in heard] == [
        (b"v1/devices/me/telemetry", b"{}"),
        (b"v1/devices/me/attributes", b'{"v":1}'),
        (b"v1/devices/me/telemetry", b'{"x":2}'),
        (b"v1/devices/me/rpc/response/1", b"7"),
    ]


def test_payloads_around_every_length_of_the_length():
    head = 2 + len(b"v1/devices/me/telemetry") + 2
    sizes = [0, 1, 127 - head, 128 - head, 16383 - head, 16384 - head, 16385 - head, 60000, 5]
    heard = []
    with Peer(reader(len(sizes), heard)) as peer:
        device = opened(peer.port)
        for size in sizes:
            device.send(b"y" * size)
        device.close()
    assert [payload for _, _, payload in heard] == [b"y" * size for size in sizes]


def test_packet_ids_go_round_without_zero():
    heard = []
    with Peer(reader(3, heard)) as peer:
        device = opened(peer.port)
        device.pid = 65533
        for _ in range(3):
            device.send(b"{}")
        device.close()
    assert [packet_id for packet_id, _, _ in heard] == [65534, 65535, 1]


def test_a_puback_of_another_message_does_not_count():
    def script(session):
        session.connect()
        packet_id, _, _ = session.published()
        session.puback(bytes((packet_id[0], packet_id[1] ^ 1)))
        session.wait_closed()

    with Peer(script) as peer:
        device = opened(peer.port)
        with pytest.raises(LinkError):
            device.send(b"{}")
        device.close()


@pytest.mark.parametrize("reply", [b"", b"\x40", b"\x40\x02", b"\x40\x02\x00"])
def test_no_puback_ends_at_the_deadline(reply):
    def script(session):
        session.connect()
        session.published()
        session.send(reply)
        session.wait_closed()

    with fails(script, opened, least=TIMEOUT - 0.1) as device:
        device.send(b"{}")


def test_a_server_that_closes_on_a_publish():
    def script(session):
        session.connect()
        session.published()

    with fails(script, opened, error=OSError, most=SLACK, **LONG) as device:
        device.send(b"{}")


def test_a_server_that_stops_reading_ends_at_the_deadline():
    def script(session):
        session.connect()
        time.sleep(TIMEOUT * 2)

    with Peer(script) as peer:
        device = opened(peer.port)
        with Stopwatch() as watch, pytest.raises(OSError):
            for _ in range(20):
                device.start(b"v1/devices/me/telemetry", bytes(2_000_000))
        assert watch.seconds < TIMEOUT + SLACK + 0.3
        device.close()


# Listening


class Inbox:
    """A handler that keeps what it is given."""

    def __init__(self):
        self.messages = []

    def __call__(self, topic, payload):
        self.messages.append((topic, payload))


def test_listen_hands_over_messages_in_order_and_acknowledges_them():
    said = []

    def script(session):
        session.connect()
        session.send(publish(b"a", b"1") + publish(b"b", b"2", 1, 258) + publish(b"c", b""))
        said.append(session.wait_closed())

    inbox = Inbox()
    with Peer(script) as peer:
        device = opened(peer.port)
        device.listen(200, inbox)
        device.close()
    assert inbox.messages == [(b"a", b"1"), (b"b", b"2"), (b"c", b"")]
    assert all(isinstance(part, bytes) for message in inbox.messages for part in message)
    assert said == [b"\x40\x02\x01\x02" + b"\xe0\x00"]


def test_messages_that_come_before_a_puback_wait_for_listen():
    def script(session):
        session.connect()
        packet_id, _, _ = session.published()
        session.send(publish(b"a", b"1", 1))
        session.puback(packet_id)
        session.wait_closed()

    inbox = Inbox()
    with Peer(script) as peer:
        device = opened(peer.port)
        device.send(b"{}")
        with Stopwatch() as watch:
            device.listen(0, inbox)
        device.close()
    assert inbox.messages == [(b"a", b"1")]
    assert watch.seconds < SLACK


def test_messages_for_which_there_is_no_room_stay_with_the_server(capsys):
    """All RPCs that wait come with each connection: were they its end, none would ever be answered."""
    said = []

    def script(session):
        session.connect()
        packet_id, _, _ = session.published()
        session.send(b"".join(publish(b"a", b"%d" % n, 1, n) for n in range(1, 31)))
        session.puback(packet_id)
        said.append(session.wait_closed())

    inbox = Inbox()
    with Peer(script) as peer:
        device = opened(peer.port)
        device.send(b"{}")
        device.listen(0, inbox)
        device.close()
    assert [int(payload) for _, payload in inbox.messages] == list(range(1, 17))
    assert said == [b"".join(b"\x40\x02\0%c" % n for n in range(1, 17)) + b"\xe0\x00"]
    assert capsys.readouterr().out.count("16 messages wait, one more is ignored") == 14


def test_listening_for_no_time_looks_at_what_is_there():
    """A board that samples without a pause hears its server, too."""

    def script(session):
        session.connect()
        session.send(publish(b"a", b"1"))
        session.wait_closed()

    inbox = Inbox()
    with Peer(script) as peer:
        device = opened(peer.port)
        end = time.monotonic() + 5
        while not inbox.messages and time.monotonic() < end:
            device.listen(0, inbox)
        device.close()
    assert inbox.messages == [(b"a", b"1")]


def test_who_always_hears_something_feeds_the_watchdog(monkeypatch):
    fed = []
    monkeypatch.setattr(firstboot, "watchdog", SimpleNamespace(feed=lambda: fed.append(1)))

    def script(session):
        session.connect()
        session.send(publish(b"a", b"1") * 5)
        session.wait_closed()

    with Peer(script) as peer:
        device = opened(peer.port)
        fed.clear()
        device.listen(200)
        device.close()
    assert len(fed) >= 5


def test_a_flood_before_a_puback_ends_the_connection():
    def script(session):
        session.connect()
        session.published()
        session.send(publish(b"a", b"1") * 1000)
        session.wait_closed()

    with Peer(script) as peer:
        device = opened(peer.port)
        with pytest.raises(LinkError):
            device.send(b"{}")
        device.close()


def test_listen_without_a_handler_drops_messages():
    sent = threading.Event()
    said = []

    def script(session):
        session.connect()
        session.send(publish(b"a", b"1", 1, 258))
        sent.set()
        said.append(session.wait_closed())

    with Peer(script) as peer:
        device = opened(peer.port)
        assert sent.wait(5)
        device.listen(100)
        assert not device.inbox
        device.close()
    assert said == [b"\x40\x02\x01\x02" + b"\xe0\x00"]


def test_a_handler_may_publish():
    heard = []

    def script(session):
        session.connect()
        session.send(publish(b"ask", b"1", 1))
        assert session.packet()[0] == 0x40
        packet_id, topic, payload = session.published()
        session.puback(packet_id)
        heard.append((topic, payload))
        session.wait_closed()

    with Peer(script) as peer:
        device = opened(peer.port)
        device.listen(200, lambda topic, payload: device.publish(b"reply", payload + b"!"))
        device.close()
    assert heard == [(b"reply", b"1!")]


def test_listen_takes_its_time():
    with Peer(accept) as peer:
        device = opened(peer.port)
        with Stopwatch() as watch:
            device.listen(250)
        assert 0.2 < watch.seconds < 0.25 + SLACK
        device.close()


def test_listen_tells_a_closed_connection():
    with fails(lambda session: session.connect(), opened, error=OSError, most=1) as device:
        device.listen(5000)


def test_a_stall_in_a_message_ends_at_the_deadline():
    def script(session):
        session.connect()
        session.send(publish(b"a", b"12345")[:-1])
        session.wait_closed()

    with fails(script, opened) as device:
        device.listen(5000)


def test_the_connection_is_kept_alive_and_found_dead():
    pings = []

    def script(session):
        session.connect()
        for _ in range(2):
            assert session.packet() == (0xC0, b"")
            pings.append(time.monotonic())
            session.send(b"\xd0\x00")
        assert session.packet() == (0xC0, b"")  # and no answer to this one
        session.wait_closed()

    with Peer(script) as peer:
        began = time.monotonic()
        device = opened(peer.port, server__keepalive=1)
        with pytest.raises(LinkError, match="no sign of life"):
            device.listen(10_000)
        ended = time.monotonic()
        device.close()
    assert 0.25 < pings[0] - began < 1 / 3 + SLACK
    assert 0.25 < pings[1] - pings[0] < 1 / 3 + SLACK
    assert 1.3 < ended - pings[1] < 1.5 + SLACK


def test_traffic_from_the_server_saves_the_ping():
    said = []

    def script(session):
        session.connect()
        for _ in range(5):
            session.send(publish(b"a", b"1"))
            time.sleep(0.25)
        said.append(session.wait_closed())

    with Peer(script) as peer:
        device = opened(peer.port, server__keepalive=3)  # without them, a ping is due after 1 s
        device.listen(1300)
        device.close()
    assert said == [b"\xe0\x00"]


def test_short_listens_add_up_to_a_ping():
    said = []

    def script(session):
        session.connect()
        said.append(session.packet())
        session.send(b"\xd0\x00")
        session.wait_closed()

    with Peer(script) as peer:
        device = opened(peer.port, server__keepalive=1)
        for _ in range(12):
            device.listen(50)
        device.close()
    assert said == [(0xC0, b"")]


def test_no_keepalive_no_ping():
    said = []

    def script(session):
        session.connect()
        said.append(session.wait_closed())

    with Peer(script) as peer:
        device = opened(peer.port, server__keepalive=0)
        device.listen(500)
        device.close()
    assert said == [b"\xe0\x00"]
