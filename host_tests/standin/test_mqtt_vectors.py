"""Every MQTT row of the contract's vectors: provisioning, sessions and authentication, packet by packet."""

import asyncio
import json
import time

import pytest
from amqtt.mqtt.connack import ConnackPacket
from amqtt.mqtt.disconnect import DisconnectPacket
from amqtt.mqtt.pingreq import PingReqPacket
from amqtt.mqtt.pingresp import PingRespPacket
from amqtt.mqtt.puback import PubackPacket
from amqtt.mqtt.publish import PublishPacket
from amqtt.mqtt.suback import SubackPacket

from tools.standin import Standin

from .client import Client
from .vectors import VECTORS, body_of, check_delay, check_state, compare, compare_body, load, release_of, rows

ROWS = rows("mqtt")
SESSIONS = VECTORS["mqtt_provision_session_vectors"]
AUTHENTICATION = VECTORS["mqtt_auth_vectors"]["cases"]
SCALE = 0.002  # the 60 s of a provision session become 0.12 s
SILENCE = 0.3  # seconds in which nothing must come
OVER = "closed: provision session over"


def test_there_are_rows():
    assert (len(ROWS), len(SESSIONS), len(AUTHENTICATION)) == (99, 18, 30)


def named(items):
    return {"argvalues": items, "ids": [item["name"] for item in items]}


@pytest.mark.parametrize("row", **named(ROWS))
async def test_row(row):
    expect, request = row["expect"], row["request"]
    session = expect["mqtt"]
    with Standin(release=release_of(row), scale=SCALE) as server:
        load(server.registry, row["server_state"])
        async with Client(server.mqtt_port) as client:
            assert (await client.connect("vector", **request["connect"])).return_code == session["connack"]
            began = time.monotonic()
            client.publish(request["topic"], body_of(request), request["qos"], packet_id=77)
            bound = {}
            if session["puback"]:
                answer = await client.receive()
                assert isinstance(answer, PubackPacket)
                assert answer.packet_id == 77
            seconds = time.monotonic() - began
            if session["response"]:
                answer = await client.receive()
                assert isinstance(answer, PublishPacket)
                assert answer.topic_name == session["response_topic"]
                compare_body(bytes(answer.data), expect["body"], bound)
            else:
                assert expect["body"] is None
            assert await client.receive() is None
            check_state(server.registry, expect["server_state_after"], bound)
            check_delay(expect, seconds, SCALE)
        if session["connection"] == "open_then_closed_by_server_after_60s":
            first, last = server.events[0], server.events[-1]
            assert last.what == OVER
            assert 60 * SCALE - 0.005 <= last.time - first.time < 60 * SCALE + 5
        else:
            assert OVER not in [event.what for event in server.events]


@pytest.mark.parametrize("row", **named(SESSIONS))
async def test_session(row):
    release = "3.8" if "<=3.8.1" in row.get("versions", "") else "4.4"
    with Standin(release=release) as server:
        profile = server.add_profile(key="pk-0123456789abcdefgh", secret="ps-0123456789abcdefgh")
        server.add_device("known", profile, "<valid access token>")
        async with Client(server.mqtt_port) as client:
            assert (await client.connect("vector", **row["connect"])).return_code == 0
            for number, step in enumerate(row["steps"], 1):
                if "send" in step:
                    send(client, step, number)
                else:
                    await expect(client, step)


def send(client, step, number):
    match step["send"]:
        case "PUBLISH":
            client.publish(step["topic"], body_of(step), step["qos"], number)
        case "SUBSCRIBE":
            client.subscribe(*step["filters"], packet_id=number)
        case "PINGREQ":
            client.send(PingReqPacket())
        case "DISCONNECT":
            client.send(DisconnectPacket())
        case other:
            raise AssertionError(other)


async def expect(client, step):
    if step["recv"] == "NOTHING":
        with pytest.raises(asyncio.TimeoutError):
            await client.receive(SILENCE)
        return
    packet = await client.receive()
    match step["recv"]:
        case "CLOSE":
            assert packet is None
        case "PUBACK":
            assert isinstance(packet, PubackPacket)
        case "PINGRESP":
            assert isinstance(packet, PingRespPacket)
        case "SUBACK":
            assert isinstance(packet, SubackPacket)
            assert packet.payload.return_codes == step["codes"]
        case "PUBLISH":
            assert packet.topic_name == step.get("topic", "/provision/response")
            assert packet.qos == step.get("qos", 1)
            if "json" in step:
                compare(json.loads(packet.data), step["json"], {})
        case other:
            raise AssertionError(other)


@pytest.fixture(scope="module")
def crowd():
    """A server with all the devices of the authentication vectors."""
    with Standin() as server:
        load(server.registry, {"profiles": [], "devices": VECTORS["mqtt_auth_vectors"]["devices"]})
        yield server


@pytest.mark.parametrize("row", **named(AUTHENTICATION))
async def test_authentication(row, crowd):
    async with Client(crowd.mqtt_port) as client:
        answer = await client.connect(**row["connect"])
        assert isinstance(answer, ConnackPacket)
        assert answer.return_code == row["expect"]["connack"]
        assert answer.session_parent == 0
        device = row["expect"]["device"]
        if device is None:
            assert await client.receive() is None
        elif device == "(provision-only session)":
            client.publish("/provision/request", b'{"provisionDeviceKey":"k","provisionDeviceSecret":"s"}')
            assert isinstance(await client.receive(), PubackPacket)
            assert json.loads((await client.receive()).data)["status"] == "NOT_FOUND"
        else:
            client.publish("v1/devices/me/telemetry", json.dumps({row["name"]: 1}).encode())
            assert isinstance(await client.receive(), PubackPacket)
            owners = [d.name for d in crowd.devices() if row["name"] in [n for n, _, _ in crowd.telemetry(d.name)]]
            assert owners == [device]


async def test_the_session_goes_on_until_60_s_after_the_first_answer(standin):
    standin.core.scale = 0.05  # 60 s are 3 s
    async with Client(standin.mqtt_port) as client:
        await client.connect("x", "provision")
        began = time.monotonic()
        for number in range(3):
            await asyncio.sleep(0.5)
            client.publish(
                "/provision/request", b'{"provisionDeviceKey":"k","provisionDeviceSecret":"s"}', 1, number + 1
            )
            assert isinstance(await client.receive(), PubackPacket)
            assert isinstance(await client.receive(), PublishPacket)
        client.send(PingReqPacket())
        assert isinstance(await client.receive(), PingRespPacket)
        assert await client.receive() is None
        assert time.monotonic() - began >= 3
    first, closed = standin.events[0], standin.events[-1]
    assert closed.what == OVER
    assert 3 - 0.005 <= closed.time - first.time < 3 + 0.9  # after the last answer it would be 4 s
