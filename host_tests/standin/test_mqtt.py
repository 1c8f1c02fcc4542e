"""The MQTT transport beyond provisioning: sessions, topics, RPC, attributes, limits (contract 2, 3 and 5 to 10)."""

import asyncio
import contextlib
import json

import pytest
from amqtt.mqtt.puback import PubackPacket
from amqtt.mqtt.publish import PublishPacket
from amqtt.mqtt.unsuback import UnsubackPacket

from tools.standin import Fate, Limits, Standin

from .client import Client

TELEMETRY = "v1/devices/me/telemetry"
ATTRIBUTES = "v1/devices/me/attributes"
LIMITS_REQUEST = b'{"method":"getSessionLimits","params":{}}'


@contextlib.asynccontextmanager
async def session(server, device):
    async with Client(server.mqtt_port) as client:
        assert (await client.connect("x", device)).return_code == 0
        yield client


async def acknowledged(client):
    assert isinstance(await client.receive(), PubackPacket)


async def told(client, topic):
    """The document of the next publish, which is on this topic."""
    packet = await client.receive()
    assert isinstance(packet, PublishPacket)
    assert packet.topic_name == topic
    return json.loads(packet.data)


async def test_session_present_is_not_clean_session(server, device):
    for clean, username, code in ((True, device, 0), (False, device, 0), (False, "nobody", 5)):
        async with Client(server.mqtt_port) as client:
            answer = await client.connect("x", username, clean=clean)
            assert (answer.return_code, answer.session_parent) == (code, 0 if clean else 1)


@pytest.mark.parametrize(
    "packet", [b"\x10\x0c\x00\x04MQTT\x06\x02\x00\x00\x00\x00", b"\x30\x02\x00\x00", b"GET /" + b"x" * 100]
)
async def test_what_is_no_connect_is_hung_up_on(server, packet):
    async with Client(server.mqtt_port) as client:
        client.send(packet)
        assert await client.receive() is None


async def test_mqtt_3_1_wants_a_short_client_id(server, device):
    def connect(client_id):
        body = b"\x00\x06MQIsdp\x03\x82\x00\x00" + b"".join(
            len(text).to_bytes(2, "big") + text for text in (client_id, device.encode())
        )
        return bytes([0x10, len(body)]) + body

    for client_id, accepted in ((b"c" * 23, True), (b"c" * 24, False), (b"", False)):
        async with Client(server.mqtt_port) as client:
            client.send(connect(client_id))
            answer = await client.receive()
            assert (answer is not None) == accepted


@pytest.mark.parametrize(("transport", "code"), [("MQTT", 0), ("DEFAULT", 0), ("COAP", 3)])
async def test_a_profile_for_one_transport(server, transport, code):
    name = f"mqtt-{transport}"
    server.add_device(name, server.add_profile(name, key=name, info={"transportType": transport}), name)
    async with Client(server.mqtt_port) as client:
        assert (await client.connect("x", name)).return_code == code


async def test_a_new_session_ends_the_older_one(server, device):
    async with session(server, device) as older, session(server, device):
        assert await older.receive() is None


async def test_changed_credentials_and_deletion_end_the_session(server, device):
    async with session(server, device) as client:
        await asyncio.to_thread(server.set_credentials, device, device + "-new")
        assert await client.receive() is None
    async with session(server, device + "-new") as client:
        await asyncio.to_thread(server.delete_device, device)
        assert await client.receive() is None


async def test_idle_sessions_end_but_not_those_that_ping(device, server):
    server.core.scale = 0.0025  # 600 s are 1.5 s
    try:
        async with session(server, device) as client, Client(server.mqtt_port) as provisioning:
            await provisioning.connect("x", "provision")
            for _ in range(3):
                await asyncio.sleep(0.6)
                client.send(b"\xc0\x00")
                assert await client.receive() is not None
            assert await client.receive() is None
            with pytest.raises(asyncio.TimeoutError):  # although it was silent all the time
                await provisioning.receive(0.1)
    finally:
        server.core.scale = 0.01


@pytest.mark.parametrize(
    ("first", "then"), [(b"", b"\x40\x02\x00\x09"), (b"\x30\x7f", b"\x00")], ids=["PUBACKs", "half a packet"]
)
async def test_what_does_not_keep_a_session_alive(device, server, first, then):
    async def keep_sending(client):
        client.send(first)
        while True:
            client.send(then)
            await asyncio.sleep(0.1)

    server.core.scale = 0.001  # 600 s are 0.6 s
    try:
        async with session(server, device) as client:
            sending = asyncio.create_task(keep_sending(client))
            assert await client.receive() is None
            sending.cancel()
        assert server.events[-1].what == "closed: idle"
    finally:
        server.core.scale = 0.01


async def test_packet_of_65536_bytes_passes_and_one_more_closes(server, device):
    room = 65536 - 2 - len(TELEMETRY) - 2
    for more, passes in ((0, True), (1, False)):
        async with session(server, device) as client:
            client.publish(TELEMETRY, b'{"a":"%s"}' % (b"x" * (room - 8 + more)))
            assert isinstance(await client.receive(), PubackPacket if passes else type(None))


async def test_qos_2_is_answered_as_qos_1(server, device):
    async with session(server, device) as client:
        client.publish(TELEMETRY, b'{"a":1}', qos=2, packet_id=9)
        assert (await client.receive()).packet_id == 9
        client.subscribe((ATTRIBUTES, 2))
        assert (await client.receive()).payload.return_codes == [1]


@pytest.mark.parametrize("topic", ["#", "v1/devices/me/#", "v1/devices/me/attributes/response/1", TELEMETRY, "x"])
async def test_other_subscriptions_are_refused_and_the_session_stays(server, device, topic):
    async with session(server, device) as client:
        client.subscribe((topic, 1), (ATTRIBUTES, 0))
        assert (await client.receive()).payload.return_codes == [0x80, 0]
        client.unsubscribe(ATTRIBUTES)
        assert isinstance(await client.receive(), UnsubackPacket)


@pytest.mark.parametrize("topic", ["x", "provision/request", "/provision/request", "v1/devices/me/telemetry/"])
async def test_unknown_topics_are_acknowledged_and_dropped(server, device, topic):
    async with session(server, device) as client:
        client.publish(topic, b"anything")
        await acknowledged(client)
    assert server.telemetry(device) == []


async def test_gateway_topics_of_a_device_are_ignored(server, device):
    async with session(server, device) as client:
        client.publish("v1/gateway/telemetry", b"{}")
        client.publish(TELEMETRY, b'{"a":1}', packet_id=2)
        assert (await client.receive()).packet_id == 2


@pytest.mark.parametrize(
    ("topic", "body"),
    [
        (TELEMETRY, b""),
        (TELEMETRY, b"{"),
        (TELEMETRY, b"1"),
        (TELEMETRY, b"[1]"),
        (TELEMETRY, b'{"ts":1,"values":3}'),
        (TELEMETRY, b'{"ts":"x","values":{"a":1}}'),
        (TELEMETRY, b'{"ts":inf,"values":{"a":1}}'),
        (TELEMETRY, b'{"ts":1e400,"values":{"a":1}}'),
        (TELEMETRY, b"\xff\xfe{"),
        (ATTRIBUTES, b"[]"),
        (ATTRIBUTES + "/request/1", b""),
        (ATTRIBUTES + "/request/1", b'{"clientKeys":null}'),
        (ATTRIBUTES + "/request/x", b"{}"),
        ("v1/devices/me/rpc/request/1", b'{"params":1}'),
        ("v1/devices/me/rpc/request/1", b'{"method":{}}'),
        ("v1/devices/me/rpc/request/-1", b'{"method":"m"}'),
        ("v1/devices/me/claim", b"[]"),
    ],
)
async def test_bad_payloads_close_without_a_puback(server, device, topic, body):
    async with session(server, device) as client:
        client.publish(topic, body)
        assert await client.receive() is None
    assert server.mistakes == []


async def test_telemetry_shapes_and_types(server, device):
    async with session(server, device) as client:
        for body in (
            b'{"a":1,"b":1.5,"c":true,"d":"text","e":{"x":[1]},"n":null}',
            b'{"ts":1500000000000,"values":{"f":"007"}}',
            b'[{"ts":"1500000000001","values":{"g":1E2}},{"h":0.30000000000000004}]',
            b"{}",
        ):
            client.publish(TELEMETRY, body)
            await acknowledged(client)
        client.publish("v2/t", b'{"i":9}')
        await acknowledged(client)
        client.publish(TELEMETRY, b"[]", packet_id=7)
        with pytest.raises(asyncio.TimeoutError):
            await client.receive(0.2)
    points = server.telemetry(device)
    assert {name: value for name, _, value in points} == {
        "a": 1,
        "b": 1.5,
        "c": True,
        "d": "text",
        "e": {"x": [1]},
        "f": 7,
        "g": 100,
        "h": "0.30000000000000004",
        "i": 9,
    }
    assert [ts for name, ts, _ in points if name in "fg"] == [1500000000000, 1500000000001]


def mqtt_profile(server, name, **configuration):
    """A device whose profile has a transport configuration; its name is also its token."""
    data = {"transportConfiguration": {"type": "MQTT", **configuration}}
    server.add_device(name, server.add_profile(name, key=name, info={"profileData": data}), name)


async def test_a_profile_that_acknowledges_bad_payloads(server):
    mqtt_profile(server, "lenient", sendAckOnValidationException=True)
    async with session(server, "lenient") as client:
        for topic, body in ((TELEMETRY, b"{"), (TELEMETRY, b'{"ts":1,"values":3}'), (ATTRIBUTES, b"[]")):
            client.publish(topic, body)
            await acknowledged(client)
    for topic, body, qos in (
        (TELEMETRY, b'{"ts":"x","values":{}}', 1),
        ("v1/devices/me/rpc/request/1", b"{}", 1),
        (TELEMETRY, b"{", 0),
    ):
        async with session(server, "lenient") as client:
            client.publish(topic, body, qos)
            assert await client.receive() is None
    assert server.telemetry("lenient") == []


async def test_the_topics_of_a_profile(server):
    mqtt_profile(
        server,
        "topics",
        deviceTelemetryTopic="site/+/telemetry",
        deviceAttributesTopic="site/#",
        deviceAttributesSubscribeTopic="site/updates",
    )
    async with session(server, "topics") as client:
        for topic, body in (
            (TELEMETRY, b'{"a":1}'),
            (ATTRIBUTES, b'{"b":1}'),
            ("v2/t", b'{"c":1}'),
            ("site/x/telemetry", b'{"d":1}'),  # both filters match it; attributes come first
            ("site", b'{"e":1}'),
        ):
            client.publish(topic, body)
            await acknowledged(client)
        client.subscribe(("site/updates", 0), ("site/other", 1))
        assert (await client.receive()).payload.return_codes == [0, 0x80]
        await asyncio.to_thread(server.set_shared, "topics", {"s": 1})
        assert await told(client, ATTRIBUTES) == {"s": 1}
    assert [name for name, _, _ in server.telemetry("topics")] == ["c"]
    assert server.attributes("topics") == {"d": 1, "e": 1}
    mqtt_profile(server, "telemetry-topic", deviceTelemetryTopic="site/+/telemetry")
    async with session(server, "telemetry-topic") as client:
        for topic in ("site/x/telemetry", "site/x/y/telemetry", TELEMETRY):
            client.publish(topic, b'{"a":1}')
            await acknowledged(client)
    assert len(server.received("telemetry-topic")) == 1


async def test_attribute_requests(server, device):
    await asyncio.to_thread(server.set_shared, device, {"s": 1, "t": 2})
    async with session(server, device) as client:
        client.publish(ATTRIBUTES, b'{"c":"x"}')
        await acknowledged(client)
        for topic, response in (
            (ATTRIBUTES + "/request/3", ATTRIBUTES + "/response/3"),
            ("v2/a/req/3", "v2/a/res/3"),
            ("v2/a/req/j/3", "v2/a/res/j/3"),
        ):
            for body, answer in (
                (b"{}", {"client": {"c": "x"}, "shared": {"s": 1, "t": 2}}),
                (b'{"clientKeys":"c,zz","sharedKeys":"t"}', {"client": {"c": "x"}, "shared": {"t": 2}}),
                (b'{"sharedKeys":"s, t"}', {"shared": {"s": 1}}),
                (b'{"sharedKeys":"zz"}', {}),
                (b'{"clientKeys":"c,,"}', {"client": {"c": "x"}}),
            ):
                client.publish(topic, body)
                await acknowledged(client)
                assert await told(client, response) == answer
        for keys in (b"c,,d", b""):
            client.publish(ATTRIBUTES + "/request/4", b'{"clientKeys":"%s"}' % keys)
            await acknowledged(client)
        with pytest.raises(asyncio.TimeoutError):
            await client.receive(0.2)


@pytest.mark.parametrize("topic", [ATTRIBUTES, "v2/a", "v2/a/j"])
async def test_shared_updates_come_to_subscribers_only(server, device, topic):
    async with session(server, device) as client:
        await asyncio.to_thread(server.set_shared, device, {"before": 1})
        client.subscribe((topic, 1))
        await client.receive()
        await asyncio.to_thread(server.set_shared, device, {"a": 2})
        assert await told(client, topic) == {"a": 2}
        await asyncio.to_thread(server.delete_shared, device, ["a"])
        assert await told(client, topic) == {"deleted": ["a"]}


@pytest.mark.parametrize(
    ("wanted", "reply"),
    [
        ("v1/devices/me/rpc/request/+", "v1/devices/me/rpc/response/{}"),
        ("v2/r/req/+", "v2/r/res/{}"),
        ("v2/r/req/j/+", "v2/r/res/j/{}"),
    ],
)
async def test_rpc_to_the_device(server, device, wanted, reply):
    async with session(server, device) as client:
        client.subscribe((wanted, 1))
        await client.receive()
        for number in range(2):
            calling = asyncio.create_task(asyncio.to_thread(server.rpc, device, "led", {"on": True}))
            assert await told(client, f"{wanted[:-1]}{number}") == {"method": "led", "params": {"on": True}}
            client.publish(reply.format(number), b'{"ok":true}')
            await acknowledged(client)
            assert await calling == {"ok": True}
            client.publish(reply.format(number), b'{"ok":"again"}')
            await acknowledged(client)


async def test_unanswered_requests_come_again_at_each_subscription(server, device):
    async with session(server, device) as client:
        calling = asyncio.create_task(asyncio.to_thread(server.rpc, device, "led", None))
        assert await asyncio.to_thread(server.wait_for, lambda s: s.events[-1].transport == "rpc")
        for _ in range(2):
            client.subscribe(("v1/devices/me/rpc/request/+", 1))
            await client.receive()
            assert (await told(client, "v1/devices/me/rpc/request/0"))["method"] == "led"
        client.publish("v1/devices/me/rpc/response/0", b"done, but no JSON")
        await acknowledged(client)
        assert await calling == "done, but no JSON"


async def test_rpc_that_nobody_answers(server, device):
    with pytest.raises(TimeoutError, match="no active connection"):
        await asyncio.to_thread(server.rpc, device, "led", None, 0.1)
    async with session(server, device) as client:
        client.subscribe(("v1/devices/me/rpc/request/+", 0))
        await client.receive()
        with pytest.raises(TimeoutError, match="no reply"):
            await asyncio.to_thread(server.rpc, device, "led", None, 0.1)


async def test_rpc_from_the_device(server, device):
    server.methods["add"] = lambda params: {"sum": sum(params)}
    async with session(server, device) as client:
        client.publish("v1/devices/me/rpc/request/5", b'{"method":"add","params":[1,2]}')
        await acknowledged(client)
        assert await told(client, "v1/devices/me/rpc/response/5") == {"sum": 3}
        client.subscribe(("v2/r/res/j/+", 0), ("v2/a/res/j/+", 0))
        assert (await client.receive()).payload.return_codes == [0, 0]
        client.publish("v2/r/req/j/3", b'{"method":"add","params":[1,3]}')
        await acknowledged(client)
        assert await told(client, "v2/r/res/j/3") == {"sum": 4}
        client.publish("v2/r/req/6", b'{"method":"unknown"}')
        await acknowledged(client)
        assert await told(client, "v2/r/res/6") == {"error": "timeout"}


async def test_session_limits_and_what_they_do(server, device):
    async with session(server, device) as client:
        client.publish("v1/devices/me/rpc/request/1", LIMITS_REQUEST)
        await acknowledged(client)
        assert await told(client, "v1/devices/me/rpc/response/1") == {
            "maxPayloadSize": 65536,
            "maxInflightMessages": 100,
            "rateLimits": {"messages": None, "telemetryMessages": None, "telemetryDataPoints": None},
        }
    server.set_limits(Limits("3:60", "2:60", "5:60"))
    async with session(server, device) as client:
        client.publish("v1/devices/me/rpc/request/1", LIMITS_REQUEST)
        await acknowledged(client)
        limits = (await told(client, "v1/devices/me/rpc/response/1"))["rateLimits"]
        assert limits == {"messages": "3:60", "telemetryMessages": "2:60", "telemetryDataPoints": "5:60"}
        client.publish(TELEMETRY, b'{"a":1,"b":2,"c":3}')
        await acknowledged(client)
        client.publish(TELEMETRY, b'{"a":1,"b":2,"c":3}')  # the sixth point
        assert await client.receive() is None
    assert len(server.telemetry(device)) == 3


async def test_a_rate_limit_at_connect_and_at_subscription(server, device):
    server.set_limits(Limits(messages="1:60"))
    async with session(server, device) as client:
        client.subscribe((ATTRIBUTES, 1))
        assert (await client.receive()).payload.return_codes == [1]  # granted, and dropped all the same
        await asyncio.to_thread(server.set_shared, device, {"a": 2})
        with pytest.raises(asyncio.TimeoutError):
            await client.receive(0.2)
    async with Client(server.mqtt_port) as client:
        assert (await client.connect("x", device)).return_code == 3


async def test_a_bucket_fills_again(server, device):
    server.set_limits(Limits(telemetry_messages="2:0.4,1000:3600"))
    async with session(server, device) as client:
        for _ in range(4):
            client.publish(TELEMETRY, b'{"a":1}')
            await acknowledged(client)
            await asyncio.sleep(0.25)


def test_limits_are_checked():
    with pytest.raises(ValueError, match="no rate limit"):
        Limits(messages="20")


async def test_claim_is_acknowledged_whatever_comes_of_it(server, device):
    async with session(server, device) as client:
        for body in (b"", b'{"secretKey":"s","durationMs":60000}'):
            client.publish("v1/devices/me/claim", body)
            await acknowledged(client)
    claim = server.core.claims[server.device(device).id]
    assert claim.secret == ""  # the first one stays


async def test_provisioning_after_an_empty_request_is_answered_in_protobuf():
    keys = {"provisionDeviceKey": "profile-key", "provisionDeviceSecret": "profile-secret"}
    basic = {"credentialsType": "MQTT_BASIC", "username": "u" * 100, "password": "p"}
    value = b'{"clientId":"","userName":"%s","password":"p"}' % (b"u" * 100)
    assert len(value) == 0x10 + 128
    with Standin() as server:
        server.add_profile()
        async with Client(server.mqtt_port) as client:
            await client.connect("x", "provision")
            for request, answer in (
                (None, b"\x08\x02"),
                ({**keys, "deviceName": "a", "token": "t-proto"}, b"\x08\x01\x1a\x07t-proto"),
                ({**keys, "deviceName": "a"}, b"\x08\x03"),
                ({**keys, "deviceName": "b", **basic}, b"\x08\x01\x10\x02\x1a\x90\x01" + value),
            ):
                client.publish("/provision/request", json.dumps(request).encode() if request else b"")
                await acknowledged(client)
                assert (await client.receive()).data == answer
        assert server.device("a").credentials.id == "t-proto"


# Faults of the server


@pytest.mark.parametrize(
    ("fate", "packets"),
    [
        ("drop", []),
        ("ack", [PubackPacket]),
        ("double", [PubackPacket, PublishPacket, PublishPacket]),
        ("close", [type(None)]),
        (Fate("delay", 0.2), [PubackPacket, PublishPacket]),
    ],
)
async def test_fates_of_a_provisioning_answer(server, fate, packets):
    name = f"fated-{fate}"
    server.next_answers(fate)
    async with Client(server.mqtt_port) as client:
        await client.connect("x", "provision")
        body = {"provisionDeviceKey": "profile-key", "provisionDeviceSecret": "profile-secret", "deviceName": name}
        client.publish("/provision/request", json.dumps(body).encode())
        for kind in packets:
            assert isinstance(await client.receive(), kind)
        if type(None) not in packets:
            with pytest.raises(asyncio.TimeoutError):
                await client.receive(0.1)
    assert server.device(name)  # remembered, whatever became of the answer


async def test_a_replaced_answer(server):
    server.next_answers(Fate("replace", body=b"\x00garbage"))
    async with Client(server.mqtt_port) as client:
        await client.connect("x", "provision")
        client.publish("/provision/request", b'{"provisionDeviceKey":"k","provisionDeviceSecret":"s"}')
        await acknowledged(client)
        assert (await client.receive()).data == b"\x00garbage"


async def test_a_restart_between_request_and_answer():
    with Standin() as server:
        server.add_profile()
        server.next_answers(Fate("restart", 0.1))
        port = server.mqtt_port
        body = b'{"provisionDeviceKey":"profile-key","provisionDeviceSecret":"profile-secret","deviceName":"d"}'
        async with Client(port) as client:
            await client.connect("x", "provision")
            client.publish("/provision/request", body)
            assert await client.receive() is None
        for _ in range(100):
            try:
                async with Client(port) as client:
                    assert (await client.connect("x", "provision")).return_code == 0
                    client.publish("/provision/request", body)
                    await acknowledged(client)
                    assert json.loads((await client.receive()).data)["status"] == "FAILURE"
                    break
            except OSError:
                await asyncio.sleep(0.05)
        assert len(server.devices()) == 1
        assert server.mqtt_port == port


@pytest.mark.parametrize(("fate", "count"), [("drop", 0), ("double", 2), (Fate("delay", 0.1), 1)])
async def test_fates_of_an_acknowledgement(server, device, fate, count):
    async with session(server, device) as client:
        server.next_acknowledgements(fate)
        client.publish(TELEMETRY, b'{"a":1}', packet_id=3)
        for _ in range(count):
            assert (await client.receive()).packet_id == 3
        with pytest.raises(asyncio.TimeoutError):
            await client.receive(0.1)
    assert len(server.telemetry(device)) == 1


def test_an_unknown_fate():
    with pytest.raises(ValueError, match="no such fate"):
        Fate("explode")
