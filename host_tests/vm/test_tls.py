"""TLS with the VM's own mbedTLS: a server that is not the right one never hears the provisioning secret."""

import socket
import time

import pytest
from unit.peer import TimeServer, sntp_answer

from tools.standin import Standin

pytestmark = pytest.mark.vm

HOST = "127.0.0.1"
TRANSPORTS = ("mqtt", "http")
TIMEOUT = 2  # seconds, server.timeout of every board here
BUSY = 8  # seconds that a busy machine may need on top
SECRET = "profile-secret"  # noqa: S105

REASONS = {
    "wrong CA": "certificate is not signed by tls.ca",
    "self-signed": "certificate is self-signed, and not the one in tls.ca",
    "wrong host": "certificate is for another name than server.host",
    "expired": "certificate has expired",
    "not yet valid": "certificate is not valid yet",
}


@pytest.fixture
def board(make_board, secure):
    """Make a board that has the stand-in's CA in its flash."""

    def make(port, transport="mqtt", files=None, tls=None, **more):
        files = {"/ca.der": secure.ca_der.read_bytes(), **(files or {})}
        return make_board(port, transport, files, tls={"enabled": True, **(tls or {})}, **more)

    return make


def port_of(standin, transport, tls=True):
    return getattr(standin, transport + "s_port" if tls else transport + "_port")


def refused(board, reason, timeout=TIMEOUT):
    """The board gives this reason, in time, and tries again."""
    began = time.monotonic()
    run = board.run(f"can't be reached: {reason}(\n|$)", 2 * timeout + BUSY)
    assert run.ended == "found", run.log
    assert time.monotonic() - began < 2 * timeout + BUSY
    assert run.has(f"provision: no answer: {reason}(\n|$)"), run.log
    assert SECRET not in run.log


def never_sent(standin):
    """The server heard something, and not the secret."""
    assert any(wire.raw for wire in standin.wires)
    assert not any(wire.saw(text) for wire in standin.wires for text in (SECRET, "profile-key", "provision"))
    assert not standin.provision_requests and not standin.devices()


@pytest.mark.parametrize("transport", TRANSPORTS)
@pytest.mark.parametrize("kind", REASONS)
def test_a_bad_certificate(secure, board, kind, transport):
    secure.use_certificate(kind)
    refused(board(port_of(secure, transport), transport), "TLS: the server's " + REASONS[kind])
    never_sent(secure)


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_a_plain_server_on_a_tls_port(secure, board, transport):
    made = board(port_of(secure, transport, tls=False), transport)
    closed = "the server closed the connection in the handshake; does server.port speak TLS.?"
    plain = "the server does not speak TLS; look at server.port and tls.enabled"
    refused(made, f"TLS: ({closed}|{plain})")
    never_sent(secure)


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_a_tls_server_on_a_plain_port(secure, board, transport):
    made = board(port_of(secure, transport), transport, tls={"enabled": False})
    refused(made, ".*(speaks TLS, and tls.enabled is false|is it right that tls.enabled is false.)")
    assert not secure.provision_requests


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_a_server_that_is_silent_in_the_handshake(board, transport):
    with socket.create_server((HOST, 0)) as server:
        refused(board(server.getsockname()[1], transport), "the TLS handshake took longer than 2000 ms")


@pytest.mark.parametrize("newest", ["1.2", "1.3"])
@pytest.mark.parametrize("transport", TRANSPORTS)
def test_the_right_server(make_board, transport, newest):
    with Standin(tls=True, newest_tls=newest) as standin:
        standin.add_profile()
        port = port_of(standin, transport)
        files = {"/ca.der": standin.ca_der.read_bytes()}
        made = make_board(port, transport, files, tls={"enabled": True}, server={"host": "localhost"})
        run = made.run(lambda r: r.has("acknowledged") and _samples(standin) > 3)
        assert run.ended == "found", run.log
        assert not any(SECRET.encode() in wire.raw for wire in standin.wires)
        assert any(SECRET.encode() in wire.plain for wire in standin.wires)
        assert len(standin.devices()) == 1
        # One connection to ask, and one for all the rest.
        assert len(standin.wires) == 2


def _samples(standin):
    return sum(len(standin.received(device.name)) for device in standin.devices())


@pytest.mark.parametrize(
    "content, reason",
    [
        (None, "there is no file ca.der; `firstboot ca` makes one"),
        (b"junk", "ca.der is not a certificate in DER; `firstboot ca` makes one"),
        (b"", "ca.der is not a certificate in DER; `firstboot ca` makes one"),
    ],
)
def test_a_ca_file_that_is_no_use(secure, board, content, reason):
    made = board(secure.mqtts_port, files={"/ca.der": content or b""})
    if content is None:
        made.image.remove("/ca.der")
    refused(made, "tls.ca: " + reason)
    assert not any(wire.raw for wire in secure.wires), [wire.raw for wire in secure.wires]


@pytest.mark.parametrize("kind", ["ESP32_GENERIC", "RPI_PICO_W"])
def test_the_clock_is_set_before_the_first_handshake(secure, board, kind):
    with TimeServer(lambda request: sntp_answer(request, time.time())) as ntp:
        made = board(secure.mqtts_port, kind=kind, clock="unset", ntp={"host": HOST, "port": ntp.port})
        run = made.run("acknowledged")
    assert run.ended == "found", run.log
    assert run.log.count("clock: set to 20") == 1  # the second connection finds it set
    assert tuple(run.event("rtc")[0][:2]) == time.gmtime()[:2]
    assert len(ntp.asked) == 1


def test_without_the_time_nobody_is_trusted(secure, board):
    with TimeServer(lambda request: None) as ntp:
        made = board(secure.mqtts_port, clock="unset", ntp={"host": HOST, "port": ntp.port})
        refused(made, "TLS needs the time: ntp.host 127.0.0.1 does not tell the time")
    assert not any(wire.raw for wire in secure.wires), [wire.raw for wire in secure.wires]


def test_without_verification_it_is_said_at_each_boot(secure, board):
    secure.use_certificate("self-signed")
    made = board(secure.mqtts_port, tls={"verify": False})
    for _ in range(2):
        run = made.run("acknowledged")
        assert run.ended == "found", run.log
        assert run.has("TLS IS NOT VERIFIED")
    assert len(secure.devices()) == 1
