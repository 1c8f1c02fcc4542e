"""CoAP over DTLS on the VM: bad servers, lost datagrams, a server that forgets, and boards with certificates."""

import base64
import datetime
import json
import time
from binascii import crc32

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID
from firstboot.store import VERIFIED

from tools.stage import KEY, SECRET, Stage
from tools.standin.faults import UdpProxy, Weather

pytestmark = pytest.mark.vm

FAST = {"retry": {"first": 0.02, "most": 0.05, "refused": 0.1}, "period": 0.05}
DAY = datetime.timedelta(days=1)
TELEMETRY = "(telemetry: acknowledged|outbox: empty)"
REASONS = {
    "wrong CA": "certificate is not signed by tls.ca(\n|$)",
    "self-signed": "certificate is self-signed, and not the one in tls.ca",
    "wrong host": "certificate is for another name than server.host(\n|$)",
    "expired": "certificate has expired(\n|$)",
    "not yet valid": "certificate is not valid yet(\n|$)",
}


@pytest.fixture(params=["x509"])
def stage(request):
    with Stage("coap", tls=True, credentials=request.param, config=dict(FAST)) as made:
        yield made


def name_of(board):
    return f"ESP32-{board.mac}"


def ready(run):
    assert run.ended == "found", run.log
    assert not run.has("MemoryError|Traceback")
    return run


def test_a_key_of_its_own(stage):
    board = stage.board(stage.image())
    ready(board.run(TELEMETRY))
    device = stage.standin.device(name_of(board))
    assert device.credentials.type == "X509_CERTIFICATE"
    ready(board.run(TELEMETRY))
    assert stage.standin.provision_requests == [device.name]
    assert [e.who for e in stage.standin.events if e.what == "known by the certificate"] == [device.name] * 2


def test_a_revoked_certificate(stage):
    board = stage.board(stage.image())
    with board:
        assert board.wait(TELEMETRY), board.run_so_far.log
        before = stage.standin.device(name_of(board)).credentials.value
        stage.standin.delete_device(name_of(board))
        assert board.wait(r"refuses this board: 4.01(?s:.)*revoked(?s:.)*" + TELEMETRY), board.run_so_far.log
    assert stage.standin.device(name_of(board)).credentials.value == before
    assert x509.load_der_x509_certificate(base64.b64decode(before))


@pytest.mark.parametrize("kind", REASONS)
def test_a_server_that_is_not_the_right_one_hears_nothing(stage, kind):
    stage.standin.use_certificate(kind)
    with UdpProxy(stage.standin.coaps_port) as proxy:
        stage.more["server"] = {"port": proxy.port}
        run = ready(stage.board(stage.image()).run("no answer: TLS: the server's " + REASONS[kind]))
        said = b"".join(one.data for one in proxy.datagrams if one.way == "up")
    assert said and KEY.encode() not in said and SECRET.encode() not in said
    assert SECRET not in run.log and not stage.standin.provision_requests


def test_a_server_that_is_silent(stage):
    stage.more["server"] = {"timeout": 1}
    with UdpProxy(stage.standin.coaps_port, Weather(drop=1)) as proxy:
        stage.more["server"]["port"] = proxy.port
        began = time.monotonic()
        ready(stage.board(stage.image()).run("no answer: the TLS handshake took longer than 1000 ms"))
        assert time.monotonic() - began < 8  # a busy machine's share


@pytest.mark.parametrize("stage", ["x509", "token"], indirect=True)
def test_lost_doubled_and_reordered_datagrams(stage):
    weather = Weather(double=0.1, reorder=0.1)

    def decide(way, number, data):
        return "drop" if number % 4 == 1 else None

    with UdpProxy(stage.standin.coaps_port, weather, weather, seed=4, decide=decide) as proxy:
        stage.more["server"] = {"port": proxy.port, "timeout": 5}
        board = stage.board(stage.image())
        ready(board.run(TELEMETRY, 60))
        lost = {one.way for one in proxy.datagrams if one.fate == "drop"}
        assert lost == {"up", "down"}
    assert len(stage.standin.devices()) == 1


def test_a_server_that_forgets_its_sessions(stage):
    stage.more["server"] = {"timeout": 1}
    board = stage.board(stage.image())
    with board:
        assert board.wait(TELEMETRY), board.run_so_far.log
        stage.standin.restart(0.2)
        assert board.wait(r"connection lost(?s:.)*telemetry: connected"), board.run_so_far.log
        count = len(stage.standin.telemetry(name_of(board)))
        assert stage.standin.wait_for(lambda s: len(s.telemetry(name_of(board))) > count, 20)


def test_a_plain_server_on_the_port(stage):
    stage.more["server"] = {"port": stage.standin.coap_port, "timeout": 1}
    run = ready(stage.board(stage.image()).run("no answer: .*"))
    assert run.has("no answer: (the TLS handshake took longer|TLS: )")
    assert not stage.standin.provision_requests


def test_an_expired_certificate_is_refused(stage):
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "board")])
    now = datetime.datetime.now(datetime.timezone.utc)
    builder = x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
    builder = builder.not_valid_before(now - 3 * DAY).not_valid_after(now - DAY)
    certificate = builder.sign(key, hashes.SHA256()).public_bytes(Encoding.DER)
    secret = key.private_bytes(Encoding.DER, PrivateFormat.TraditionalOpenSSL, NoEncryption())
    texts = {"certificate": base64.b64encode(certificate).decode(), "key": base64.b64encode(secret).decode()}
    body = json.dumps([1, VERIFIED, {"credentialsType": "X509_CERTIFICATE", **texts}]).encode()
    image = stage.image()
    image.put({"/identity.1": b"%08x" % crc32(body) + body})
    ready(stage.board(image).run("connection lost: TLS: the server refuses this board's certificate"))
