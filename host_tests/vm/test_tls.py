"""TLS with the VM's own mbedTLS: a server that is not the right one never hears the provisioning secret."""

import json
import socket
import time

import pytest
import trustme
from unit.peer import TimeServer, sntp_answer

from tools.build import firmware
from tools.vboard import Image, VirtualBoard

from .front import HOST, Front, bad_context, der, issued

pytestmark = pytest.mark.vm

TIMEOUT = 2  # seconds, server.timeout of every board here
SECRETS = (b"profile-secret", b"profile-key")
TRANSPORTS = ("mqtt", "http")

REASONS = {
    "wrong CA": "certificate is not signed by tls.ca(\n|$)",
    "self-signed": "certificate is self-signed, and not the one in tls.ca",
    "wrong host name": "certificate is for another name than server.host(\n|$)",
    "expired": "certificate has expired(\n|$)",
    "not yet valid": "certificate is not valid yet(\n|$)",
}


@pytest.fixture(scope="module")
def ca():
    return trustme.CA()


@pytest.fixture
def make_board(tmp_path, ca):
    """Make a board of this configuration, with the CA in its flash."""

    def make(port, transport="mqtt", files=None, tls=True, kind="ESP32_GENERIC", clock="set", **more):
        config = {
            "wifi": {"ssid": "lab", "password": "lab-password"},
            "server": {"host": HOST, "port": port, "timeout": TIMEOUT},
            "tls": {"enabled": tls} if isinstance(tls, bool) else tls,
            "transport": transport,
            "provision": {"key": "profile-key", "secret": "profile-secret"},
            "retry": {"first": 0.2, "most": 0.5},
            "period": 0.1,
            **more,
        }
        image = Image(tmp_path / "flash").format()
        image.put({**firmware(), "/ca.der": der(ca), "/config.json": json.dumps(config).encode(), **(files or {})})
        return VirtualBoard(image, kind, clock=clock)

    return make


def port_of(standin, transport):
    return {"mqtt": standin.mqtt_port, "http": standin.http_port}[transport]


def refused(board, reason):
    """The board gives this reason, in time, and tries again."""
    began = time.monotonic()
    run = board.run("can't be reached: (TLS: the server's )?" + reason, 20)
    assert run.ended == "found", run.log
    assert time.monotonic() - began < TIMEOUT + 8  # a busy machine's share
    assert run.has("provision: no answer: (TLS: the server's )?" + reason), run.log
    assert "profile-secret" not in run.log
    return run


@pytest.mark.parametrize("transport", TRANSPORTS)
@pytest.mark.parametrize("kind", REASONS)
def test_a_bad_certificate(standin, make_board, ca, kind, transport):
    with Front(port_of(standin, transport), bad_context(kind, ca)) as front:
        refused(make_board(front.port, transport), REASONS[kind])
        assert front.connections
        assert not front.seen
    assert not standin.provision_requests


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_a_plain_server_on_a_tls_port(standin, make_board, transport):
    with Front(port_of(standin, transport)) as front:
        board = make_board(front.port, transport)
        run = board.run("provision: no answer: TLS: .*", 20)
        assert run.has("no answer: TLS: the server .*(closed the connection in the handshake|does not speak TLS)"), (
            run.log
        )
        assert front.seen
        assert not any(secret in front.seen for secret in SECRETS)


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_a_tls_server_on_a_plain_port(standin, make_board, ca, transport):
    with Front(port_of(standin, transport), issued(ca)) as front:
        run = make_board(front.port, transport, tls=False).run("provision: no answer: .*", 20)
        assert run.has("no answer: .*tls.enabled"), run.log


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_a_server_that_is_silent_in_the_handshake(make_board, transport):
    with socket.create_server((HOST, 0)) as server:
        port = server.getsockname()[1]
        refused(make_board(port, transport), "the TLS handshake took longer than 2000 ms")


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_the_right_server(standin, make_board, ca, transport):
    with Front(port_of(standin, transport), issued(ca)) as front:
        run = make_board(front.port, transport).run("heap in use", 20)
        assert run.ended == "found", run.log
        assert b"profile-secret" in front.seen
    assert len(standin.devices()) == 1


@pytest.mark.parametrize("content, reason", [(None, "there is no file"), (b"junk", "is not a certificate in DER")])
def test_a_ca_file_that_is_no_use(standin, make_board, ca, content, reason):
    with Front(standin.mqtt_port, issued(ca)) as front:
        board = make_board(front.port, files={"/ca.der": content or b""})
        if content is None:
            board.image.remove("/ca.der")
        refused(board, "tls.ca: .*" + reason)
        assert not front.seen


@pytest.mark.parametrize("kind", ["ESP32_GENERIC", "RPI_PICO_W"])
def test_the_clock_is_set_before_the_first_handshake(standin, make_board, ca, kind):
    with (
        TimeServer(lambda request: sntp_answer(request, time.time())) as ntp,
        Front(standin.mqtt_port, issued(ca)) as front,
    ):
        board = make_board(front.port, kind=kind, clock="unset", ntp={"host": HOST, "port": ntp.port})
        run = board.run(lambda r: r.has("acknowledged") and r.log.count("clock: set to 20"), 20)
        assert run.ended == "found", run.log
    today = time.gmtime()
    assert tuple(run.event("rtc")[0][:2]) == today[:2]
    assert len(ntp.asked) == 1  # the second connection of the boot finds it set


def test_without_the_time_nobody_is_trusted(standin, make_board, ca):
    with TimeServer(lambda request: None) as ntp, Front(standin.mqtt_port, issued(ca)) as front:
        board = make_board(front.port, clock="unset", ntp={"host": HOST, "port": ntp.port})
        refused(board, "TLS needs the time, and ntp.host 127.0.0.1 does not tell it")
        assert not front.seen


def test_without_verification_it_is_said_at_each_boot(standin, make_board, ca):
    with Front(standin.mqtt_port, bad_context("self-signed", ca)) as front:
        board = make_board(front.port, tls={"enabled": True, "verify": False})
        for _ in range(2):
            run = board.run("heap in use", 20)
            assert run.ended == "found", run.log
            assert run.has("TLS IS NOT VERIFIED")
    assert len(standin.devices()) == 1
