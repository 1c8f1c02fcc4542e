"""OTA packages: assignment, and downloads over MQTT, HTTP and CoAP (contract 9)."""

import asyncio
import contextlib
import hashlib
import itertools
import json
import threading
import time

import aiocoap
import aiohttp
import paho.mqtt.client as mqtt
import pytest
from amqtt.mqtt.puback import PubackPacket
from amqtt.mqtt.publish import PublishPacket

from tools.checksums import checksum
from tools.standin import Limits, Standin
from tools.standin.ota import chunk
from tools.standin.registry import RegistryError

from .client import Client

ATTRIBUTES = "v1/devices/me/attributes"
FILE = bytes(range(256)) * 10  # 2560 bytes
_versions = (f"1.{n}" for n in itertools.count())


@pytest.fixture
def version():
    """One that no other test has."""
    return next(_versions)


@pytest.fixture
def profile(server, version):
    """The name of a profile without devices."""
    return server.add_profile(f"profile-{version}", key=f"key-{version}").name


@pytest.fixture
def board(server, profile, version):
    """A device of that profile; its name is also its token."""
    return server.add_device(f"board-{version}", server.registry.profile(name=profile), f"board-{version}").name


@pytest.fixture
def assigned(server, board, version):
    """A software package that is assigned to the board: FILE."""
    package = server.add_package("sw", "app", version, FILE)
    server.assign(package, device=board)
    return package


def shared(server, name):
    return server.attributes(name, "SHARED_SCOPE")


def told(server, name):
    """What the server said of this device's updates."""
    return [event.what for event in server.events if event.who == name and event.transport == "ota"]


def downloads(server, name):
    """(transport, what) of downloads that began."""
    return [(event.transport, event.what) for event in server.events if event.who == name and "chunk" in event.what]


# Checksums


@pytest.mark.parametrize(
    ("algorithm", "data", "digest"),
    [
        ("CRC32", b"123456789", "2639f4cb"),
        ("MD5", b"123456789", "25f9e794323b453885f5181f1b624d0b"),
        ("SHA256", b"", "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"),
        ("SHA512", b"", hashlib.sha512(b"").hexdigest()),
        ("SHA384", b"", hashlib.sha384(b"").hexdigest()),
        ("MURMUR3_32", b"hello", "47fa8b24"),
        ("MURMUR3_128", b"hello", "029bbd41b3a7d8cb191dae486a901e5b"),
    ],
)
def test_checksums_as_the_server_writes_them(algorithm, data, digest):
    if algorithm.startswith("MURMUR3"):
        pytest.importorskip("mmh3")
    assert checksum(algorithm, data) == digest


def test_other_checksums_are_none():
    for algorithm in ("SHA1", "sha256", "SHA3_256", ""):
        with pytest.raises(ValueError, match="no checksum algorithm"):
            checksum(algorithm, b"")


def test_chunks():
    assert [chunk(b"abcde", 2, n) for n in range(4)] == [b"ab", b"cd", b"e", b""]
    assert chunk(b"abcd", 2, 2) == b""
    assert chunk(b"abcde", 0, 7) == b"abcde"
    assert chunk(b"abcde", 2, -1) == b""


# Assignment


def test_shared_attributes_of_a_profile_s_package(server, profile, board, version):
    package = server.add_package("fw", "firstboot", version, FILE, algorithm="CRC32", tag="firstboot nightly")
    server.assign(package, profile=profile)
    expected = {
        "fw_title": "firstboot",
        "fw_version": version,
        "fw_tag": "firstboot nightly",
        "fw_size": 2560,
        "fw_checksum": checksum("CRC32", FILE),
        "fw_checksum_algorithm": "CRC32",
    }
    assert shared(server, board) == expected
    points = [(name, value) for name, _, value in server.telemetry(board)]
    assert points[:3] == [
        ("target_fw_title", "firstboot"),
        ("target_fw_version", version),
        ("target_fw_tag", "firstboot nightly"),
    ]
    assert abs(dict(points)["target_fw_ts"] - time.time() * 1000) < 60000
    assert points[4:] == [("fw_state", "QUEUED"), ("fw_state", "INITIATED")]
    # A device that comes later gets it as well: made by hand or provisioned.
    server.add_device(board + "-2", server.registry.profile(name=profile), board + "-2")
    assert shared(server, board + "-2") == expected
    body = {
        "provisionDeviceKey": f"key-{version}",
        "provisionDeviceSecret": "profile-secret",
        "deviceName": board + "-3",
    }

    async def provision():
        await server.core.provision("test", json.dumps(body).encode())

    server._call(provision())
    assert shared(server, board + "-3") == expected
    assert told(server, board + "-3") == [f"assigned firstboot {version}"]


def test_a_device_s_own_wins_over_the_profile_s(server, profile, board, version):
    common = server.add_package("sw", "app", version, b"common")
    own = server.add_package("sw", "app", version + "-own", b"own")
    server.assign(own, device=board)
    server.assign(common, profile=profile)
    assert shared(server, board)["sw_version"] == own.version
    server.assign(None, kind="sw", device=board)
    assert shared(server, board)["sw_version"] == common.version
    server.assign(None, kind="sw", profile=profile)
    assert shared(server, board) == {}
    assert told(server, board) == [f"assigned app {version}-own", f"assigned app {version}", "no software any more"]


def test_nothing_happens_to_devices_that_it_does_not_change(server, profile, board, assigned):
    server.assign(assigned, device=board)  # again
    server.assign(server.add_package("sw", "app", assigned.version + "-b", b"b"), profile=profile)
    assert len(told(server, board)) == 1
    assert "fw_title" not in shared(server, board)


def test_firmware_and_software_are_apart(server, board, assigned, version):
    server.assign(server.add_package("fw", "firstboot", version, b"fw"), device=board)
    assert {name[:2] for name in shared(server, board)} == {"fw", "sw"}
    server.assign(None, kind="fw", device=board)
    assert {name[:2] for name in shared(server, board)} == {"sw"}


def test_a_package_by_url_has_no_size(server, board, version):
    server.assign(server.add_package("fw", "far", version, None, url="https://example.org/fw.bin"), device=board)
    assert shared(server, board) == {
        "fw_title": "far",
        "fw_version": version,
        "fw_url": "https://example.org/fw.bin",
    }


def test_what_the_server_refuses(server, profile, board, assigned, version):
    with pytest.raises(RegistryError, match="such title and version"):
        server.add_package("fw", "app", version, b"x")
    with pytest.raises(RegistryError, match="with empty data"):
        server.assign(server.add_package("sw", "empty", version, None), device=board)
    with pytest.raises(RegistryError, match="different deviceProfile"):
        server.assign(assigned, profile="boards")
    with pytest.raises(RegistryError, match="referenced by the devices"):
        server.core.updates.delete(assigned.id)
    server.assign(assigned, profile=profile)
    server.assign(None, kind="sw", device=board)
    with pytest.raises(RegistryError, match="referenced by the device profile"):
        server.core.updates.delete(assigned.id)
    server.assign(None, kind="sw", profile=profile)
    server.core.updates.delete(assigned.id)
    assert server.registry.package(assigned.id) is None
    for wrong in ({}, {"kind": "sw"}, {"kind": "xx", "device": board}, {"kind": "sw", "device": board, "profile": "p"}):
        with pytest.raises(ValueError, match="a package or a kind"):
            server.assign(None, **wrong)
    with pytest.raises(KeyError):
        server.assign(None, kind="sw", device="nobody")


def test_a_deleted_device_uses_nothing(server, board, assigned):
    server.delete_device(board)
    server.core.updates.delete(assigned.id)


def test_packages_are_kept_in_the_database_file(tmp_path):
    with Standin(database=str(tmp_path / "db")) as first:
        first.add_device("d", first.add_profile(), "d")
        first.assign(first.add_package("sw", "app", "1", FILE), profile="boards")
    with Standin(database=str(tmp_path / "db")) as second:
        (package,) = second.registry.packages()
        assert (package.title, package.data, package.checksum) == ("app", FILE, checksum("SHA256", FILE))
        assert second.registry.targets(second.device("d")) == {"sw": package.id}


async def test_assignments_are_pushed_to_who_listens(server, board, version):
    package = await asyncio.to_thread(server.add_package, "sw", "app", version, FILE)
    async with session(server, board) as client:
        client.subscribe((ATTRIBUTES, 1))
        await client.receive()
        await asyncio.to_thread(server.assign, package, device=board)
        assert json.loads((await client.receive()).data) == {"deleted": ["sw_tag", "sw_url"]}
        assert json.loads((await client.receive()).data) == shared(server, board)
        await asyncio.to_thread(server.assign, None, kind="sw", device=board)
        keys = ["title", "version", "ts", "state", "size", "checksum", "checksum_algorithm", "url", "tag"]
        assert json.loads((await client.receive()).data) == {"deleted": [f"sw_{key}" for key in keys]}


# MQTT


@contextlib.asynccontextmanager
async def session(server, device):
    async with Client(server.mqtt_port) as client:
        assert (await client.connect("x", device)).return_code == 0
        yield client


async def got(client, request, number, size=b"", kind="sw", qos=1):
    """The bytes of a chunk, after its PUBACK."""
    client.publish(f"v2/{kind}/request/{request}/chunk/{number}", size, qos, packet_id=77)
    if qos:
        acknowledged = await client.receive()
        assert isinstance(acknowledged, PubackPacket)
        assert acknowledged.packet_id == 77
    packet = await client.receive()
    assert isinstance(packet, PublishPacket)
    assert packet.topic_name == f"v2/{kind}/response/{request}/chunk/{number}"
    return bytes(packet.data or b"")


async def test_mqtt_chunks(server, board, assigned):
    async with session(server, board) as client:
        assert await got(client, 1, 0, b"1000") == FILE[:1000]
        assert await got(client, 1, 1) == FILE[1000:2000]  # of the size given before
        assert await got(client, 1, 2) == FILE[2000:]
        assert await got(client, 1, 3) == b""
        assert await got(client, 1, 99999) == b""
        assert await got(client, 1, 1, b"512", qos=0) == FILE[512:1024]
        assert await got(client, 1, 0, b"0") == FILE[:512]  # no size at all
        assert await got(client, 2, 0) == FILE  # of another request none is known
        assert await got(client, 3, 5, b"-1") == FILE
    assert downloads(server, board) == [("mqtt", f"sw app {assigned.version}: from chunk {n}") for n in (0, 0, 5)]


async def test_mqtt_answers_have_the_subscription_s_qos(server, board, assigned):
    async with session(server, board) as client:
        for qos in (0, 1):
            client.subscribe(("v2/sw/response/+/chunk/+", qos))
            assert (await client.receive()).payload.return_codes == [qos]
            client.publish("v2/sw/request/1/chunk/0", b"10")
            await client.receive()
            packet = await client.receive()
            assert (packet.qos, bytes(packet.data)) == (qos, FILE[:10])


async def test_mqtt_whole_file_that_is_longer_than_a_packet_may_be(server, board, version):
    data = bytes(range(250)) * 1000
    await asyncio.to_thread(lambda: server.assign(server.add_package("fw", "long", version, data), device=board))
    async with session(server, board) as client:
        assert await got(client, 1, 0, kind="fw") == data
        assert await got(client, 1, 1, b"65536", kind="fw") == data[65536:131072]


@pytest.mark.parametrize(
    ("kind", "size", "error"),
    [
        ("sw", b"65537", b"PAYLOAD_TOO_LARGE"),
        ("fw", b"100", b"NOT_FOUND"),
        ("fw", b"65537", b"PAYLOAD_TOO_LARGE"),
        ("sw", b"ten", None),
        ("sw", b"1.5", None),
        ("sw", b" 10", None),
        ("sw", b"2147483648", None),
        ("sw", b"\xff", None),
    ],
)
async def test_mqtt_errors_close(server, board, assigned, kind, size, error):
    async with session(server, board) as client:
        client.publish(f"v2/{kind}/request/0/chunk/0", size)
        if error:
            packet = await client.receive()  # no PUBACK before it
            assert (packet.topic_name, bytes(packet.data)) == ("v2/fw/error", error)
        assert await client.receive() is None


async def test_mqtt_package_by_url_fails(server, board, version):
    package = await asyncio.to_thread(server.add_package, "sw", "far", version, None, url="https://example.org/")
    await asyncio.to_thread(server.assign, package, device=board)
    async with session(server, board) as client:
        client.publish("v2/sw/request/0/chunk/0", b"100")
        packet = await client.receive()
        assert (packet.topic_name, bytes(packet.data)) == ("v2/fw/error", b"FAILURE")
        assert await client.receive() is None


async def test_mqtt_other_topics_are_unknown_ones(server, board, assigned):
    async with session(server, board) as client:
        for topic in (
            "v2/sw/request/x/chunk/0",
            "v2/sw/request/1/chunk/x",
            "v2/sw/request/1",
            "v2/xx/request/1/chunk/0",
        ):
            client.publish(topic, b"100", packet_id=5)
            assert (await client.receive()).packet_id == 5
        client.publish("v2/sw/request/1/chunk/99999999999", b"100")
        assert await client.receive() is None


async def test_mqtt_a_request_keeps_its_package(server, board, assigned, version):
    newer = await asyncio.to_thread(server.add_package, "sw", "app", version + "-newer", b"newer")
    async with session(server, board) as client:
        assert await got(client, 1, 0, b"10") == FILE[:10]
        await asyncio.to_thread(server.assign, newer, device=board)
        assert await got(client, 1, 1) == FILE[10:20]
        assert await got(client, 2, 0) == b"newer"
        # The server knows a request by its number only, whichever kind it was for.
        assert await got(client, 1, 0, b"5", kind="fw") == FILE[:5]
        await asyncio.to_thread(server.assign, None, kind="sw", device=board)
        assert await got(client, 2, 0) == b"newer"
    async with session(server, board) as client:
        client.publish("v2/sw/request/2/chunk/0", b"100")
        assert (await client.receive()).topic_name == "v2/fw/error"


async def test_mqtt_after_an_hour_old_requests_get_nothing(server, board, assigned):
    async with session(server, board) as client:
        assert await got(client, 1, 0, b"10") == FILE[:10]
        server.core.updates._files.clear()
        assert await got(client, 1, 1) == b""
        assert await got(client, 2, 1, b"10") == FILE[10:20]
        assert await got(client, 1, 1) == FILE[10:20]  # the file is at hand again


async def test_mqtt_rate_limit_counts_requests_not_chunks(server, board, assigned):
    async with session(server, board) as client:
        await asyncio.to_thread(server.set_limits, Limits(messages="1:60"))
        try:
            for number in range(5):
                assert await got(client, 1, number, b"100") == FILE[number * 100 :][:100]
            client.publish("v2/sw/request/2/chunk/0", b"100")
            assert await client.receive() is None
        finally:
            await asyncio.to_thread(server.set_limits, Limits())


@pytest.mark.parametrize("protocol", [mqtt.MQTTv311, mqtt.MQTTv5])
def test_mqtt_by_another_client(server, board, assigned, protocol):
    received, done = [], threading.Event()
    board_client = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2, protocol=protocol)
    board_client.username_pw_set(board)

    def ask(number):
        board_client.publish(f"v2/sw/request/3/chunk/{number}", "1024", 1)

    def on_message(_client, _data, message):
        received.append((message.topic, message.payload))
        ask(len(received)) if message.payload else done.set()

    board_client.on_connect = lambda *_: board_client.subscribe("v2/sw/response/+/chunk/+", 1)
    board_client.on_subscribe = lambda *_: ask(0)
    board_client.on_message = on_message
    board_client.connect("127.0.0.1", server.mqtt_port)
    board_client.loop_start()
    try:
        assert done.wait(10)
    finally:
        board_client.disconnect()
        board_client.loop_stop()
    assert b"".join(payload for _, payload in received) == FILE
    assert [len(payload) for _, payload in received] == [1024, 1024, 512, 0]


# HTTP


@pytest.fixture
async def http(server):
    """A function: path below /api/v1, query -> (status, bytes, headers)."""
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(20)) as session:

        async def ask(path, **query):
            url = f"http://127.0.0.1:{server.http_port}/api/v1/{path}"
            async with session.get(url, params=query) as answer:
                return answer.status, await answer.read(), answer.headers

        yield ask


async def test_http_chunks(server, board, assigned, version, http):
    names = {"title": "app", "version": version}
    status, body, headers = await http(f"{board}/software", **names)
    assert (status, body, headers["x-filename"]) == (200, FILE, f"app-{version}.tar")
    assert headers["Content-Type"] == "application/octet-stream"
    parts = [(await http(f"{board}/software", **names, size="1000", chunk=str(n)))[:2] for n in range(4)]
    assert parts == [(200, FILE[:1000]), (200, FILE[1000:2000]), (200, FILE[2000:]), (200, b"")]
    assert (await http(f"{board}/software", **names, size="0", chunk="3"))[1] == FILE
    # One line for the whole file, and one for all chunks.
    assert downloads(server, board)[:2] == [("http", f"sw app {version}: from chunk 0")] * 2


async def test_http_refusals(server, board, assigned, version, http):
    names = {"title": "app", "version": version}
    assert (await http("nobody/software", **names))[:2] == (401, b"")
    assert (await http(f"{board}/firmware", **names))[0] == 404
    for wrong in (
        {"title": "app"},
        {"version": version},
        {"title": "App", "version": version},
        {"title": "app", "version": "0"},
        {**names, "size": "x"},
        {**names, "chunk": "x"},
    ):
        assert (await http(f"{board}/software", **wrong))[0] == 400
    package = await asyncio.to_thread(server.add_package, "fw", "far", version, None, url="https://example.org/")
    await asyncio.to_thread(server.assign, package, device=board)
    assert (await http(f"{board}/firmware", title="far", version=version))[0] == 404
    await asyncio.to_thread(server.set_limits, Limits(messages="1:60"))
    try:
        assert [(await http(f"{board}/software", **names))[0] for _ in range(2)] == [200, 500]
    finally:
        await asyncio.to_thread(server.set_limits, Limits())


# CoAP


@pytest.fixture
async def coap(server):
    """A function: path -> (code as text, payload)."""
    context = await aiocoap.Context.create_client_context(transports=["udp6"])

    async def ask(path, patience=10, method=aiocoap.GET):
        message = aiocoap.Message(code=method, uri=f"coap://127.0.0.1:{server.coap_port}/{path}")
        answer = await asyncio.wait_for(context.request(message).response, patience)
        return answer.code.dotted, answer.payload

    yield ask
    await context.shutdown()


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
async def test_coap_chunks(server, board, assigned, version, coap):
    assert await coap(f"sw/{board}") == ("2.05", FILE)  # block by block
    names = f"title=app&version={version}"
    for number in range(3):
        chunk = FILE[number * 1000 :][:1000]
        assert await coap(f"sw/{board}?{names}&size=1000&chunk={number}") == ("2.05", chunk)
    with pytest.raises(asyncio.TimeoutError):
        await coap(f"sw/{board}?{names}&size=1000&chunk=3", 0.5)
    assert await coap(f"sw/{board}?title=App") == ("4.00", b"")
    assert await coap(f"sw/{board}?title=app&version=0") == ("4.00", b"")
    assert await coap(f"sw/{board}?version={version}&size=10") == ("2.05", FILE[:10])
    assert await coap(f"fw/{board}") == ("4.04", b"")
    assert await coap("sw/nobody") == ("4.01", b"")
    assert await coap(f"sw/{board}/x") == ("4.01", b"")
    assert await coap(f"sw/{board}", method=aiocoap.POST) == ("4.05", b"")


def test_nothing_went_wrong_in_the_server(server):
    assert server.mistakes == []
