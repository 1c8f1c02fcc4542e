"""The HTTP link against a server that is scripted byte by byte."""

import json
from pathlib import Path
from types import ModuleType

import micro
import pytest
from firstboot.link import Denied, LinkError
from firstboot.link.http import Link

from .fakes import OWN, config
from .peer import Peer, Stopwatch

TIMEOUT = 0.3  # seconds, server.timeout of every link here
SLACK = 0.5  # a busy machine's
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
PATH = b"/api/v1/" + OWN["token"].encode()


def link(port, **changes):
    """A link to a peer on loopback."""
    return Link(config(transport="http", server__port=port, server__timeout=TIMEOUT, **changes))


def request(session):
    """Read one request: (request line, headers in lower case, body)."""
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        head += session.read(1)
    first, *lines = head[:-4].split(b"\r\n")
    headers = dict(line.lower().split(b": ", 1) for line in lines)
    return first, headers, session.read(int(headers[b"content-length"]))


def answers(*said, then=b""):
    """A script: read a request, say the bytes, for each of `said`; then wait until the client closes."""

    def script(session):
        for data in said:
            request(session)
            session.send(data)
        session.wait_closed()

    return script


def with_body(body, status=b"200 OK", head=b""):
    return b"HTTP/1.1 %s\r\nContent-Length: %d\r\n%s\r\n%s" % (status, len(body), head, body)


# Provisioning


def test_ask_speaks_through_requests():
    heard = []

    def script(session):
        heard.append(request(session))
        session.send(with_body(b'{"status":"FAILURE"}'))
        session.wait_closed()

    with Peer(script) as peer:
        assert link(peer.port).ask(b'{"a":1}') == b'{"status":"FAILURE"}'
    first, headers, body = heard[0]
    assert first == b"POST /api/v1/provision HTTP/1.0"  # as requests says it
    assert headers[b"content-type"] == b"application/json"
    assert body == b'{"a":1}'


def test_ask_speaks_through_urequests(monkeypatch):
    import urequests
    from firstboot.link import http_ask

    # The old one from PyPI calls its socket module usocket, and is not called requests.
    old = ModuleType("urequests")
    source = Path(urequests.__file__).read_text().replace("import socket", "import socket as usocket")
    exec(compile(source.replace("socket.", "usocket."), "urequests.py", "exec"), old.__dict__)
    import_module = micro._import
    monkeypatch.setitem(
        http_ask.__builtins__,
        "__import__",
        lambda name, *more: (
            _missing(name) if name == "requests" else old if name == "urequests" else import_module(name, *more)
        ),
    )
    heard = []

    def script(session):
        heard.append(request(session)[0])
        session.send(with_body(b"the answer"))
        session.wait_closed()

    with Peer(script) as peer:
        assert link(peer.port).ask(b"{}") == b"the answer"
    assert heard == [b"POST /api/v1/provision HTTP/1.0"]
    assert old.usocket is micro.socket


def _missing(name):
    raise ImportError(name)


def test_ask_without_requests(monkeypatch):
    import_module = micro._import

    def no_requests(name, *more):
        if name.endswith("requests"):
            raise ImportError(name)
        return import_module(name, *more)

    from firstboot.link import http_ask

    monkeypatch.setitem(http_ask.__builtins__, "__import__", no_requests)
    with Peer(answers(with_body(b"the answer"))) as peer:
        assert link(peer.port).ask(b"{}") == b"the answer"


@pytest.mark.parametrize(
    "answer, reason",
    [
        (with_body(b'{"status":500,"message":"x"}', b"500 Internal Server Error"), "HTTP 500: malformed request"),
        (with_body(b'{"status":"500"}', b"500 Internal Server Error"), "HTTP 500$"),
        (with_body(b"", b"500 Internal Server Error"), "HTTP 500$"),
        (with_body(b"not JSON", b"500 Internal Server Error"), "HTTP 500$"),
        (with_body(b"", b"404 Not Found"), "HTTP 404$"),
        (with_body(b"", b"401 Unauthorized"), "HTTP 401$"),
        (with_body(b"", b"301 Moved", b"Location: https://elsewhere/\r\n"), "HTTP 301: the server redirects"),
        (b"SSH-2.0-x\r\n", "this is not an HTTP server"),
        (b"\x15\x03\x01\0\x02\x02\x46", "server.port speaks TLS, and tls.enabled is false"),
        (b"HTTP/1.1\r\n\r\n", "malformed"),
        (b"HTTP/1.1 abc\r\n\r\n", "malformed"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: many\r\n\r\n", "malformed"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n", "malformed"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 4097\r\n\r\n", "larger than server.frame"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n", "malformed"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n-1\r\n", "malformed"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nabc\r\n", "malformed"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nffffff\r\n", "larger than server.frame"),
        (b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 1000, "larger than server.frame"),
        (b"x" * 5000, "larger than server.frame"),
    ],
)
def test_an_answer_that_is_none(answer, reason):
    with Peer(answers(answer)) as peer:
        asking = link(peer.port)
        with pytest.raises(LinkError, match=reason):
            asking.ask(b"{}")
        assert asking.sock is None


@pytest.mark.parametrize(
    "said", [b"", b"HTTP/1.1 200 OK\r\nContent", b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n1234"]
)
def test_a_server_that_closes_in_the_middle(said):
    def script(session):
        request(session)
        session.send(said)

    with Peer(script) as peer, pytest.raises(OSError, match="closed the connection"):
        link(peer.port).ask(b"{}")


@pytest.mark.parametrize(
    "said", [b"", b"HTTP/1.1 200 OK\r\nContent", b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n1234"]
)
def test_a_server_that_stalls_in_the_middle(said):
    with Peer(answers(said)) as peer:
        with pytest.raises(LinkError, match="waiting for the server took longer"), Stopwatch() as watch:
            link(peer.port).ask(b"{}")
        assert TIMEOUT <= watch.seconds < TIMEOUT + SLACK


def test_a_server_that_drips_ends_at_the_deadline():
    def script(session):
        request(session)
        session.send(b"HTTP/1.1 200 OK\r\n")
        with pytest.raises(ConnectionError):
            for _ in range(200):
                session.sock.settimeout(0.02)
                session.send(b"X: y\r\n")
                try:
                    if not session.sock.recv(1):
                        raise ConnectionError
                except TimeoutError:
                    pass

    with Peer(script) as peer:
        with pytest.raises(LinkError, match="took longer"), Stopwatch() as watch:
            link(peer.port).ask(b"{}")
        assert watch.seconds < TIMEOUT + SLACK


@pytest.mark.parametrize(
    "answer",
    [
        with_body(b"the answer"),
        b"HTTP/1.1 100 Continue\r\n\r\n" + with_body(b"the answer"),
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: Chunked\r\n\r\n4;x=y\r\nthe \r\n6\r\nanswer\r\n0\r\nTrailer: x\r\n\r\n",
        b"HTTP/1.1 200\nCONTENT-LENGTH:10\n\nthe answer",
        b"HTTP/1.0 200 OK\r\n\r\nthe answer",
    ],
)
@pytest.mark.parametrize("size", [1, 7, 1000])
def test_how_an_answer_may_be_framed(answer, size):
    def script(session):
        request(session)
        for i in range(0, len(answer), size):
            session.send(answer[i : i + size])
        if b"/1.0" in answer:
            session.sock.close()
        else:
            session.wait_closed()

    with Peer(script) as peer:
        assert link(peer.port).ask(b"{}") == b"the answer"


# As a device


def test_one_connection_carries_all():
    heard = []

    def script(session):
        for _ in range(3):
            heard.append(request(session))
            session.send(OK)
        assert session.wait_closed() == b""

    with Peer(script) as peer:
        device = link(peer.port)
        device.open(OWN)
        device.send(b'{"t":1}')
        device.report(b'{"a":2}')
        device.close()
    assert [first for first, _, _ in heard] == [
        b"POST %s/%s HTTP/1.1" % (PATH, what) for what in (b"attributes", b"telemetry", b"attributes")
    ]
    assert json.loads(heard[0][2]).keys() == {"firstboot_version"}
    assert [body for _, _, body in heard[1:]] == [b'{"t":1}', b'{"a":2}']
    assert heard[1][1][b"host"] == b"127.0.0.1:%d" % peer.port


def test_an_operators_token_is_quoted():
    heard = []

    def script(session):
        heard.append(request(session)[0])
        session.send(OK)
        session.wait_closed()

    with Peer(script) as peer:
        device = link(peer.port)
        device.open({"credentialsType": "ACCESS_TOKEN", "token": "a/b c?Ü~9"})
        device.close()
    assert heard == [b"POST /api/v1/a%2Fb%20c%3F%C3%9C~9/attributes HTTP/1.1"]


def test_gone_credentials():
    with Peer(answers(with_body(b"", b"401 Unauthorized"))) as peer:
        device = link(peer.port)
        with pytest.raises(Denied, match="401"):
            device.open(OWN)
        assert device.sock is None


def test_a_server_error():
    with Peer(answers(OK, with_body(b"parser says", b"500 Internal Server Error"))) as peer:
        device = link(peer.port)
        device.open(OWN)
        with pytest.raises(LinkError, match="HTTP 500"):
            device.send(b"[1]")
        assert device.sock is None


def test_other_credentials_are_no_use():
    device = link(1)
    with pytest.raises(LinkError, match="http carries access tokens only.*MQTT_BASIC"):
        device.open({"credentialsType": "MQTT_BASIC", "clientId": "c", "username": None, "password": None})


@pytest.mark.parametrize("head", [b"Connection: close\r\n", b"Connection: Close\r\n"])
def test_a_server_that_closes_after_each_answer(head):
    with Peer(*[answers(with_body(b"", head=head))] * 3) as peer:
        device = link(peer.port)
        device.open(OWN)
        device.send(b"{}")
        device.send(b"{}")


def test_a_kept_connection_that_was_closed_is_opened_anew():
    def once(session):
        request(session)
        session.send(OK)

    with Peer(once, once, answers(OK)) as peer:
        device = link(peer.port)
        device.open(OWN)
        device.send(b"{}")
        device.send(b"{}")
        device.close()


def test_closed_while_the_request_is_under_way():
    def once(session):
        request(session)
        session.send(OK)
        request(session)

    with Peer(once, answers(OK)) as peer:
        device = link(peer.port)
        device.open(OWN)
        device.send(b"{}")
        device.close()


def test_a_new_connection_is_not_tried_again():
    with Peer(lambda session: request(session)) as peer:
        device = link(peer.port)
        with pytest.raises(OSError, match="closed"):
            device.open(OWN)


def test_once_an_answer_has_begun_nothing_is_sent_again():
    def script(session):
        request(session)
        session.send(OK)
        request(session)
        session.send(b"HTTP/1.1 2")

    with Peer(script) as peer:
        device = link(peer.port)
        device.open(OWN)
        with pytest.raises(OSError, match="closed"):
            device.send(b"{}")


def test_listen_waits_and_sees_the_connection_end():
    with Peer(answers(OK), answers(OK)) as peer:
        device = link(peer.port)
        device.open(OWN)
        with Stopwatch() as watch:
            device.listen(60)
        assert 0.05 < watch.seconds < 0.06 + SLACK
        device.close()
        with Stopwatch() as watch:
            device.listen(60)
        assert 0.05 < watch.seconds < 0.06 + SLACK
        device.open(OWN)
        device.close()


def test_listen_closes_what_the_server_has_closed():
    def once(session):
        request(session)
        session.send(OK)

    with Peer(once) as peer:
        device = link(peer.port)
        device.open(OWN)
        with Stopwatch() as watch:
            device.listen(100)
        assert device.sock is None
        assert watch.seconds > 0.09


def test_rubbish_after_an_answer_ends_the_connection():
    with Peer(answers(OK + b"HTTP/1.1 200 OK\r\n"), answers(OK)) as peer:
        device = link(peer.port)
        device.open(OWN)
        assert device.sock is None
        device.send(b"{}")
        device.close()
