"""TLS ports: mutual TLS by the contract's certificate vectors, unsound server certificates, and what was seen."""

import asyncio
import json
import ssl
import urllib.request

import pytest

from tools.standin import Standin, tls
from tools.standin.authentication import certificate_text
from tools.standin.certificates import KINDS
from tools.standin.provisioning import X509_CHAIN
from tools.standin.registry import normalised, sha3, x509_certificate

from .certs import Maker
from .client import Client
from .vectors import VECTORS, compare, device_of, load

ROWS = VECTORS["x509_connect_vectors"]
TOKEN = "a-token-of-a-device"


@pytest.fixture(scope="module")
def secure():
    with Standin(tls=True) as server:
        server.add_device("dev-1", server.add_profile(), TOKEN)
        yield server


def trusting(server):
    return ssl.create_default_context(cafile=server.ca_pem)


# Client certificates


def makers(row):
    """Real certificates for the row's labels, each leaf issued by the CA that the row presents, or by its own."""
    labels = {item["label"]: item for item in row["presented_chain"]}
    profile_ca = Maker("Factory CA")
    made = {"ca": profile_ca, "other-ca": Maker("Other")}
    issuer = made[next((label for label in labels if label != "leaf"), "ca")]
    if row["name"].endswith("signature_broken"):
        issuer = Maker("Factory CA")
    days = (-10, -1) if row["name"].endswith("expired") else (-1, 10)
    made["leaf"] = Maker(labels["leaf"]["subject_cn"], issuer, days)
    return made


def with_real_certificates(row, made):
    """The row with the placeholders, and their hashes, replaced."""
    text = json.dumps(row)
    placeholders = {"LEAFCERTBASE64": "leaf", "PROFILE-CA-CERT-BASE64": "ca", "OTHERCA": "other-ca"}
    for placeholder, label in placeholders.items():
        real = certificate_text(made[label].certificate)
        text = text.replace(f'"{placeholder}"', json.dumps(real)).replace(sha3(placeholder), sha3(real))
    return json.loads(text)


@pytest.mark.parametrize("newest", ["1.2", "1.3"])
@pytest.mark.parametrize("row", ROWS, ids=[row["name"] for row in ROWS])
async def test_certificate_vector(row, newest, tmp_path):
    made = makers(row)
    row = with_real_certificates(row, made)
    with Standin(tls=True, newest_tls=newest) as server:
        load(server.registry, row["server_state"])
        context = trusting(server)
        leaf, *others = (made[item["label"]] for item in row["presented_chain"])
        leaf.load(context, tmp_path, *others)
        given = row["connect"]
        refused = row["expect"]["tls"] == "refused"
        try:
            async with Client(server.mqtts_port, context) as client:
                answer = await client.connect(given["client_id"], given["username"], given["password"])
                assert (answer and answer.return_code) == row["expect"]["connack"]
        except ssl.SSLError as e:
            assert refused
            assert "CERTIFICATE_UNKNOWN" in str(e)
        unsigned = "the client's chain is not signed link by link"
        assert not refused or server.wait_for(lambda s: s.wires[-1].trouble == unsigned)
        assert not refused or server.wires[-1].plain == b""
        devices = [device_of(server.registry, device) for device in server.registry.devices()]
        assert len(devices) == len(row["expect"]["devices_after"])
        for found, wanted in zip(devices, row["expect"]["devices_after"], strict=True):
            compare(found, wanted, {})


def test_there_are_certificate_rows():
    assert len(ROWS) == 12


async def test_a_self_signed_leaf_that_was_registered_as_pem_connects(secure, tmp_path):
    leaf = Maker("dev-9", days=(-1, 1))
    profile = secure.registry.profiles()[0]
    secure.add_device("dev-9", profile, x509_certificate(leaf.pem.decode()))
    context = trusting(secure)
    leaf.load(context, tmp_path)
    async with Client(secure.mqtts_port, context) as client:
        assert (await client.connect("x")).return_code == 0
        client.publish("v1/devices/me/telemetry", b'{"a":1}')
        await client.receive()
    assert [(name, value) for name, _, value in secure.telemetry("dev-9")] == [("a", 1)]
    assert normalised(leaf.pem.decode()) == certificate_text(leaf.certificate)


@pytest.mark.parametrize(
    ("common_name", "pattern"),
    [("x" * 64, "x+"), ("dev<b>", "(.*)"), ("dev", "(unbalanced"), ("dev", "dev(nothing)?"), (None, "(.*)")],
)
async def test_a_chain_that_makes_no_device_is_refused_at_connect(secure, tmp_path, common_name, pattern):
    ca = Maker("Factory CA")
    key = sha3(certificate_text(ca.certificate))
    secure.add_profile("chain", X509_CHAIN, key, ca.pem.decode(), pattern=pattern, allow_create=True)
    before, context = len(secure.devices()), trusting(secure)
    Maker(common_name, ca).load(context, tmp_path, ca)
    async with Client(secure.mqtts_port, context) as client:
        assert (await client.connect("x")).return_code == 5
    assert len(secure.devices()) == before
    assert secure.mistakes == []


async def test_no_certificate_is_basic_authentication(secure):
    async with Client(secure.mqtts_port, trusting(secure)) as client:
        assert (await client.connect("x", TOKEN)).return_code == 0
    async with Client(secure.mqtts_port, trusting(secure)) as client:
        assert (await client.connect("x", "wrong")).return_code == 5


async def test_a_leaf_not_yet_valid_is_refused_at_connect(secure, tmp_path):
    leaf = Maker("dev-8", days=(1, 2))
    secure.add_device("dev-8", secure.registry.profiles()[0], x509_certificate(leaf.pem.decode()))
    context = trusting(secure)
    leaf.load(context, tmp_path)
    async with Client(secure.mqtts_port, context) as client:
        assert (await client.connect("x")).return_code == 5


def test_a_chain_is_signed_link_by_link():
    root = Maker("root")
    middle = Maker("middle", root)
    leaf = Maker("leaf", middle)
    chain = [maker.certificate for maker in (leaf, middle, root)]
    assert tls.is_signed([])
    assert tls.is_signed(chain[:1])
    assert tls.is_signed(chain)
    assert not tls.is_signed([chain[0], chain[2], chain[1]])
    assert not tls.is_signed([*chain, Maker("stranger").certificate])
    # Dates and names don't count, keys do.
    assert tls.is_signed([leaf.certificate, Maker("renamed", key=middle.key, days=(-9, -8)).certificate])


# Server certificates


def post(server, body=b'{"t":1}'):
    request = urllib.request.Request(
        f"https://localhost:{server.https_port}/api/v1/{TOKEN}/telemetry", data=body, method="POST"
    )
    return urllib.request.urlopen(request, context=trusting(server), timeout=10).status


WHY = {
    "expired": "certificate has expired",
    "not yet valid": "not yet valid",
    "wrong host": "Hostname mismatch",
    "self-signed": "self.signed certificate",
    "wrong CA": "unable to get local issuer",
}


def test_every_kind_of_server_certificate_is_tried():
    assert {"good", *WHY} == set(KINDS)


@pytest.mark.parametrize("kind", WHY)
async def test_an_unsound_server_certificate_is_refused_by_a_client_that_looks(kind, secure):
    secure.use_certificate(kind)
    try:
        with pytest.raises(urllib.error.URLError, match=WHY[kind]):
            await asyncio.to_thread(post, secure)
        with pytest.raises(ssl.SSLCertVerificationError, match=WHY[kind]):
            async with Client(secure.mqtts_port, trusting(secure)):
                pass
        assert secure.wait_for(lambda s: all(wire.trouble for wire in s.wires[-2:]))
        assert not any(wire.saw(TOKEN) for wire in secure.wires[-2:])
    finally:
        secure.use_certificate("good")


def test_ca_files_are_the_same_certificate(secure):
    context = ssl.create_default_context(cadata=secure.ca_der.read_bytes())
    assert context.get_ca_certs() == trusting(secure).get_ca_certs()


def test_a_kept_ca_is_used_again(tmp_path):
    file = tmp_path / "ca.pem"
    ders = []
    for _ in range(2):
        with Standin(tls=True, ca_file=file) as server:
            ders.append(server.ca_der.read_bytes())
            server.add_device("dev-1", server.add_profile(), TOKEN)
            assert post(server) == 200
    assert ders[0] == ders[1]
    assert (tmp_path / "ca.key").stat().st_mode & 0o077 == 0


# What was seen


async def test_what_came_in_is_kept(secure):
    assert await asyncio.to_thread(post, secure) == 200
    wire = secure.wires[-1]
    assert wire.port == "https"
    assert TOKEN.encode() in wire.plain
    assert TOKEN.encode() not in wire.raw
    assert wire.raw.startswith(b"\x16\x03\x01")  # a ClientHello
    assert wire.saw(TOKEN)
    async with Client(secure.mqtt_port) as client:
        await client.connect("x", TOKEN)
    assert secure.wires[-1].port == "mqtt"
    assert secure.wires[-1].raw == secure.wires[-1].plain
    assert secure.wires[-1].saw(TOKEN)


@pytest.mark.parametrize("port", ["mqtts", "https"])
async def test_a_plain_client_on_a_tls_port_is_hung_up_on(port, secure):
    async with Client(getattr(secure, f"{port}_port")) as client:
        client.send(b"POST /api/v1/provision HTTP/1.1\r\nsecret: s3cr3t\r\n\r\n")
        assert await asyncio.wait_for(client.reader.read(), 10) in (b"", b"\x15\x03\x01\x00\x02\x02\x46")
    assert secure.wait_for(lambda s: s.wires[-1].trouble is not None)
    assert secure.wires[-1].saw("s3cr3t")
    assert secure.wires[-1].plain == b""


@pytest.mark.parametrize("port", ["mqtt", "http"])
async def test_a_tls_client_on_a_plain_port_gets_nowhere(port, secure):
    with pytest.raises((ssl.SSLError, OSError)):
        async with Client(getattr(secure, f"{port}_port"), trusting(secure)):
            pass


async def test_a_handshake_that_stalls_ends(secure, monkeypatch):
    monkeypatch.setattr(tls, "HANDSHAKE", 0.1)
    async with Client(secure.mqtts_port) as client:
        client.send(b"\x16\x03\x01\x00\x10")
        assert await asyncio.wait_for(client.reader.read(), 10) == b""
    assert secure.wires[-1].trouble == "no handshake in time"


async def test_a_large_body_passes(secure):
    body = json.dumps({f"key{n}": "x" * 1000 for n in range(200)}).encode()
    assert await asyncio.to_thread(post, secure, body) == 200
    assert len(secure.wires[-1].plain) > len(body)


async def test_stop_ends_tls_connections(tmp_path):
    with Standin(tls=True) as server:
        server.add_device("dev-1", server.add_profile(), TOKEN)
        async with Client(server.mqtts_port, trusting(server)) as client:
            assert (await client.connect("x", TOKEN)).return_code == 0
            await asyncio.to_thread(server.stop)
            assert await client.receive() is None
            await asyncio.to_thread(server.start)
        assert await asyncio.to_thread(post, server) == 200
