"""Garbage on every port, by a fixed seed: the server goes on, and nothing in it fails in a way it did not foresee."""

import asyncio
import gc
import json
import logging
import random
import socket
import ssl
import urllib.request

import pytest
from amqtt.mqtt.connect import ConnectPacket, ConnectPayload, ConnectVariableHeader
from amqtt.mqtt.pingreq import PingReqPacket
from amqtt.mqtt.publish import PublishPacket
from amqtt.mqtt.subscribe import SubscribePacket
from amqtt.mqtt.unsubscribe import UnsubscribePacket

from tools.standin import Standin

from .client import Client

ROUNDS = 300
BODIES = (
    b'{"provisionDeviceKey":"profile-key","provisionDeviceSecret":"profile-secret","deviceName":"d"}',
    b'[{"ts":1500000000000,"values":{"a":1.5,"b":"x","c":[1,{"d":null}]}}]',
    b'{"method":"m","params":{"a":[1,2]}}',
    b'{"clientKeys":"a,b","sharedKeys":"c"}',
)


def connect(username):
    header = ConnectVariableHeader(keep_alive=60)
    header.username_flag = header.clean_session_flag = True
    return ConnectPacket(variable_header=header, payload=ConnectPayload(client_id="c", username=username)).to_bytes()


MQTT = [
    *(
        PublishPacket.build(topic, body, 1, False, 1, False).to_bytes()
        for topic in (
            "/provision/request",
            "v1/devices/me/telemetry",
            "v1/devices/me/attributes",
            "v1/devices/me/attributes/request/1",
            "v1/devices/me/rpc/request/1",
            "v1/devices/me/rpc/response/1",
            "v1/devices/me/claim",
            "v2/t",
        )
        for body in BODIES
    ),
    SubscribePacket.build([("v1/devices/me/rpc/request/+", 1)], 1).to_bytes(),
    UnsubscribePacket.build(["v1/devices/me/rpc/request/+"], 1).to_bytes(),
    PingReqPacket().to_bytes(),
    connect("token"),
    connect("provision"),
]
HTTP = [
    f"{method} /api/v1/{path} HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body
    for method, path in (
        ("POST", "provision"),
        ("POST", "token/telemetry"),
        ("POST", "token/attributes"),
        ("POST", "token/rpc"),
        ("POST", "token/rpc/1"),
        ("POST", "token/claim"),
        ("GET", "token/attributes?clientKeys=a"),
    )
    for body in BODIES
]
COAP = [
    bytes([0x41, code, 0, 1, 7, 0xB3]) + b"api" + b"\x02v1" + b"\x05token" + bytes([len(path)]) + path + b"\xff" + body
    for code, path in (
        (1, b"attributes"),
        (2, b"telemetry"),
        (2, b"attributes"),
        (2, b"rpc"),
        (1, b"rpc"),
        (2, b"provision"),
    )
    for body in BODIES
]


def spoil(data, chance):
    data = bytearray(data)
    for _ in range(chance.randrange(4)):
        place = chance.randrange(len(data) + 1)
        match chance.randrange(4):
            case 0:
                data[place:place] = chance.randbytes(chance.randrange(1, 9))
            case 1:
                del data[place : place + chance.randrange(1, 9)]
            case 2:
                data[place : place + 1] = bytes([chance.choice((0, 1, 0x7F, 0x80, 0xFE, 0xFF, chance.randrange(256)))])
            case _:
                data = data[:place]
        if not data:
            break
    return bytes(data)


@pytest.fixture
def server(caplog):
    with Standin(tls=True, scale=0.001) as running:
        running.add_device("d", running.add_profile(), "token")
        yield running
        gc.collect()
        assert still_serves(running)
        assert running.mistakes == []
    assert [r.getMessage() for r in caplog.records if r.levelno >= logging.ERROR] == []


def still_serves(server):
    context = ssl.create_default_context(cafile=server.ca_pem)
    for scheme, port in (("http", server.http_port), ("https", server.https_port)):
        url = f"{scheme}://localhost:{port}/api/v1/token/telemetry"
        request = urllib.request.Request(url, data=b'{"alive":1}', method="POST")
        assert urllib.request.urlopen(request, context=context if scheme == "https" else None, timeout=10).status == 200

    async def mqtt():
        for port, tls in ((server.mqtt_port, None), (server.mqtts_port, context)):
            async with Client(port, tls) as client:
                assert (await client.connect("x", "token")).return_code == 0

    asyncio.run(mqtt())
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.settimeout(1)
        sock.connect(("127.0.0.1", server.coap_port))
        for _ in range(20):  # what it has not read yet may have filled its socket
            sock.send(b"\x40\x02\xfe\xfe\xb3api\x02v1\x05token\x09telemetry\xff{}")
            try:
                while (code := sock.recv(100)[1]) == 0:  # an empty ACK before a separate answer
                    pass
                assert code == 0x41  # 2.01
                break
            except TimeoutError:
                continue
        else:
            return False
    return True


def throw(port, data):
    with socket.create_connection(("127.0.0.1", port), 10) as sock:
        try:
            sock.sendall(data)
            sock.shutdown(socket.SHUT_WR)
            sock.settimeout(10)
            while sock.recv(65536):
                pass
        except OSError:
            pass


@pytest.mark.parametrize("first", [b"", connect("token"), connect("provision")], ids=["raw", "device", "provision"])
def test_mqtt(server, first):
    chance = random.Random(1)
    for _ in range(ROUNDS):
        packets = b"".join(spoil(chance.choice(MQTT), chance) for _ in range(chance.randrange(1, 4)))
        throw(server.mqtt_port, first + packets)


def test_http(server):
    chance = random.Random(2)
    for _ in range(ROUNDS):
        throw(server.http_port, spoil(chance.choice(HTTP), chance))


@pytest.mark.parametrize("port", ["mqtts", "https"])
def test_tls(server, port):
    chance = random.Random(3)
    hello = ssl.MemoryBIO()
    engine = ssl.create_default_context().wrap_bio(ssl.MemoryBIO(), hello, server_hostname="localhost")
    with pytest.raises(ssl.SSLWantReadError):
        engine.do_handshake()
    record = hello.read()
    for _ in range(60):
        throw(getattr(server, f"{port}_port"), spoil(chance.choice((record, chance.randbytes(60), HTTP[0])), chance))


@pytest.mark.parametrize("port", ["coap", "coaps"])
def test_coap(server, port):
    chance = random.Random(4)
    hello = b"\x16\xfe\xfd\0\0\0\0\0\0\0\0\0\x10\1\0\0\4\0\0\0\0\0\0\0\4\xfe\xfd\0\0"
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.connect(("127.0.0.1", getattr(server, f"{port}_port")))
        for number in range(ROUNDS):
            message = bytearray(chance.choice(COAP if port == "coap" else [*COAP[:3], hello, hello]))
            message[2:4] = number.to_bytes(2, "big")
            sock.send(spoil(bytes(message), chance))


def test_rest(server):
    def ask(method, path, body, token):
        request = urllib.request.Request(
            f"http://127.0.0.1:{server.http_port}/api/{path}",
            data=body,
            method=method,
            headers={"X-Authorization": f"Bearer {token}", "Content-Type": "application/json"},
        )
        try:
            with urllib.request.urlopen(request, timeout=10) as answer:
                return answer.status, answer.read()
        except urllib.error.HTTPError as e:
            return e.code, e.read()

    status, body = ask("POST", "auth/login", b'{"username":"tenant@thingsboard.org","password":"tenant"}', "")
    token = json.loads(body)["token"]
    device = server.device("d").id
    for body in (b"", b"{", b"[]", b"null", b'"text"', b"{}", b'{"name":5}', b'{"name":"d","id":{"id":"x"}}', b"\xff"):
        for path in (
            "auth/login",
            "auth/token",
            "deviceProfile",
            "device",
            "device/credentials",
            "device-with-credentials",
            "device/bulk_import",
            f"plugins/telemetry/DEVICE/{device}/SHARED_SCOPE",
            f"rpc/oneway/{device}",
            f"plugins/telemetry/DEVICE/{device}/timeseries/ANY",
            "customer/device/d/claim",
        ):
            status, _ = ask("POST", path, body, token)
            assert status < 500
