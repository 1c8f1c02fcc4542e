"""The HTTP transport beyond provisioning: telemetry, attributes, RPC, long polls, limits (contract 2.5 and 5 to 10)."""

import asyncio
import json
import time

import aiohttp
import pytest

from tools.standin import Fate, Limits


@pytest.fixture
async def http(server):
    """A function: method, path below /api/v1, body, query -> (status, body as text)."""
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(20)) as session:

        async def ask(method, path, body=None, **query):
            url = f"http://127.0.0.1:{server.http_port}/api/v1/{path}"
            async with session.request(method, url, data=body, params=query) as answer:
                return answer.status, await answer.text()

        yield ask


async def test_a_bad_token_is_401_with_an_empty_body(server, device, http):
    for method, path in (
        ("POST", "telemetry"),
        ("POST", "attributes"),
        ("GET", "attributes"),
        ("GET", "rpc"),
        ("POST", "claim"),
    ):
        assert await http(method, f"nobody/{path}", b"{" if method == "POST" else None) == (401, "")


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b'{"a":1}', 200),
        (b"{}", 200),
        (b'[{"a":1},{"ts":1,"values":{"b":2}}]', 200),
        (b"", 400),
        (b"{", 500),
        (b"1", 500),
        (b'{"ts":1,"values":3}', 500),
        (b'{"ts":null,"values":{"a":1}}', 500),
        (b'{"ts":1e400,"values":{"a":1}}', 500),
        (b'{"a":1E400}', 200),
        (b"\xff\x00", 500),
    ],
)
async def test_telemetry(server, device, http, body, status):
    assert (await http("POST", f"{device}/telemetry", body))[0] == status


async def test_the_transport_of_a_profile_is_no_matter_here(server, http):
    server.add_device("not-http", server.add_profile("not-http", key="not-http", info={"transportType": "COAP"}), "n-h")
    assert await http("POST", "n-h/telemetry", b'{"a":1}') == (200, "")


async def test_the_last_of_one_time_is_what_is_stored(server, device, http):
    for body in (b'{"ts":5,"values":{"a":1,"b":1}}', b'[{"ts":6,"values":{"a":2}},{"ts":5,"values":{"a":3}}]'):
        assert (await http("POST", f"{device}/telemetry", body))[0] == 200
    assert server.telemetry(device) == [("b", 5, 1), ("a", 6, 2), ("a", 5, 3)]
    assert server.received(device) == [("a", 5, 1), ("b", 5, 1), ("a", 6, 2), ("a", 5, 3)]


@pytest.mark.parametrize("ts", [b"null", b"inf", b"1e400", b'"1_000"'])
async def test_a_time_that_is_none_is_a_500_without_a_body(server, device, http, ts):
    assert await http("POST", f"{device}/telemetry", b'{"ts":%s,"values":{"a":1}}' % ts) == (500, "")
    assert server.telemetry(device) == [] and server.mistakes == []


@pytest.mark.parametrize("key", ["", "  ", "x" * 256, "<b>"])
async def test_a_key_that_storage_refuses_costs_its_record_after_the_acknowledgement(server, device, http, key):
    body = [{"before": 1}, {"with": 2, key: 3}, {"ts": 5, "values": {"x" * 255: 4}}]
    assert await http("POST", f"{device}/telemetry", json.dumps(body)) == (200, "")
    assert [(name, value) for name, _, value in server.telemetry(device)] == [("before", 1), ("x" * 255, 4)]
    assert await http("POST", f"{device}/attributes", json.dumps({"with": 2, key: 3})) == (200, "")
    assert server.attributes(device) == {}
    assert "not stored" in [event.what for event in server.events if event.who == device][-2]


async def test_an_array_without_times_has_one_time(server, device, http):
    assert (await http("POST", f"{device}/telemetry", b'[{"a":1},{"a":2},{"b":3}]'))[0] == 200
    (_, a_ts, a), (_, b_ts, b) = server.telemetry(device)
    assert (a, b, a_ts) == (2, 3, b_ts)


async def test_an_empty_array_hangs_to_the_async_limit(server, device, http):
    began = time.monotonic()
    assert await http("POST", f"{device}/telemetry", b"[]") == (503, "")
    assert time.monotonic() - began >= 0.29


async def test_attributes(server, device, http):
    await asyncio.to_thread(server.set_shared, device, {"s": 1})
    assert await http("GET", f"{device}/attributes", clientKeys="zz") == (200, "{}")
    assert await http("POST", f"{device}/attributes", b'{"c":"7"}') == (200, "")
    assert json.loads((await http("GET", f"{device}/attributes"))[1]) == {"client": {"c": 7}, "shared": {"s": 1}}
    assert json.loads((await http("GET", f"{device}/attributes", sharedKeys="s"))[1]) == {"shared": {"s": 1}}
    assert (await http("POST", f"{device}/attributes", b"[]"))[0] == 500
    assert (await http("GET", f"{device}/attributes", clientKeys="a,,b"))[0] == 503
    assert (await http("GET", f"{device}/attributes", clientKeys=",c"))[0] == 503
    assert await http("GET", f"{device}/attributes", clientKeys="c,,") == (200, '{"client": {"c": 7}}')
    every = {"client": {"c": 7}, "shared": {"s": 1}}
    assert json.loads((await http("GET", f"{device}/attributes", clientKeys=","))[1]) == every


async def test_long_poll_for_shared_attributes(server, device, http):
    poll = asyncio.create_task(http("GET", f"{device}/attributes/updates", timeout="10000"))
    while not server.core.polls.get(server.device(device).id):
        await asyncio.sleep(0.01)
    await asyncio.to_thread(server.set_shared, device, {"a": 2})
    status, body = await poll
    assert (status, json.loads(body)) == (200, {"a": 2})


async def test_long_polls_time_out(server, device, http):
    assert (await http("GET", f"{device}/rpc", timeout="100"))[0] == 408
    began = time.monotonic()
    assert (await http("GET", f"{device}/attributes/updates"))[0] == 503  # 30 s come before 60 s
    assert 0.29 <= time.monotonic() - began < 5
    assert (await http("GET", f"{device}/rpc", timeout="soon"))[0] == 400


async def test_rpc_to_the_device(server, device, http):
    calling = asyncio.create_task(asyncio.to_thread(server.rpc, device, "led", {"on": 1}))
    status, body = await http("GET", f"{device}/rpc", timeout="10000")
    assert (status, json.loads(body)) == (200, {"id": 0, "method": "led", "params": {"on": 1}})
    assert await http("POST", f"{device}/rpc/0", b'{"ok":true}') == (200, "")
    assert await calling == {"ok": True}
    assert await http("POST", f"{device}/rpc/0", b'{"ok":"stale"}') == (200, "")
    assert (await http("POST", f"{device}/rpc/zero", b"{}"))[0] == 400


async def test_rpc_from_the_device(server, device, http):
    server.methods["add"] = lambda params: {"sum": sum(params)}
    assert await http("POST", f"{device}/rpc", b'{"method":"add","params":[1,2]}') == (200, '{"sum": 3}')
    assert (await http("POST", f"{device}/rpc", b'{"method":"add"}'))[0] == 500
    assert (await http("POST", f"{device}/rpc", b'{"params":{}}'))[0] == 500
    assert (await http("POST", f"{device}/rpc", b'{"method":"unknown","params":{}}'))[0] == 503


async def test_polls_do_not_end_an_mqtt_session(server, device, http):
    from .client import Client

    async with Client(server.mqtt_port) as client:
        await client.connect("x", device)
        assert (await http("GET", f"{device}/rpc", timeout="50"))[0] == 408
        client.send(b"\xc0\x00")
        assert await client.receive() is not None


async def test_bodies_that_are_too_long(server, device, http):
    assert (await http("POST", f"{device}/rpc/0", b"x" * 65536))[0] == 200
    assert (await http("POST", f"{device}/rpc/0", b"x" * 65537))[0] == 413
    assert (await http("POST", f"{device}/telemetry", b'{"a":"%s"}' % (b"x" * 100000)))[0] == 200


@pytest.mark.parametrize(("path", "most"), [("provision", 52428800), ("rpc-1/telemetry", 52428800), ("x/rpc/0", 65536)])
async def test_the_limit_of_a_body_goes_by_its_path(server, path, most):
    reader, writer = await asyncio.open_connection("127.0.0.1", server.http_port)
    writer.write(f"POST /api/v1/{path} HTTP/1.1\r\nHost: x\r\nContent-Length: {most + 1}\r\n\r\n".encode())
    assert b" 413 " in await asyncio.wait_for(reader.readline(), 10)
    writer.close()


async def test_a_token_that_begins_with_rpc_has_the_wider_limit(server, http):
    server.add_device("rpc-1", server.registry.profiles()[0], "rpc-1")
    assert await http("POST", "rpc-1/telemetry", b'{"a":"%s"}' % (b"x" * 65536)) == (200, "")


async def test_an_inner_container_that_is_wrong_is_told_without_a_body(server, device, http):
    assert await http("POST", f"{device}/telemetry", b'{"ts":1,"values":3}') == (500, "")
    assert (await http("POST", f"{device}/telemetry", b"{"))[1] != ""


async def test_rate_limits(server, device, http):
    server.set_limits(Limits(messages="1:60", telemetry_messages="1:60"))
    assert await http("POST", f"{device}/telemetry", b'{"a":1}') == (200, "")
    assert await http("POST", f"{device}/telemetry", b'{"a":1}') == (500, "")
    assert await http("POST", f"{device}/telemetry", b'{"ts":1,"values":{}}') == (200, "")  # no point: a plain message
    assert await http("GET", f"{device}/attributes") == (503, "")  # after having hung
    assert len(server.telemetry(device)) == 1


async def test_claim(server, device, http):
    assert await http("POST", f"{device}/claim", b'{"secretKey":"s"}') == (200, "")
    assert await http("POST", f"{device}/claim", b"") == (200, "")
    assert await http("POST", f"{device}/claim", b"[") != (200, "")
    assert server.core.claims[server.device(device).id].secret == "s"


@pytest.mark.parametrize("fate", ["close", "drop"])
async def test_an_answer_that_does_not_come(server, http, fate):
    name = f"http-{fate}"
    body = {"provisionDeviceKey": "profile-key", "provisionDeviceSecret": "profile-secret", "deviceName": name}
    server.next_answers(fate)
    with pytest.raises((aiohttp.ClientError, asyncio.TimeoutError)):
        await asyncio.wait_for(http("POST", "provision", json.dumps(body).encode()), 0.5)
    assert server.device(name)


async def test_answers_doubled_delayed_and_replaced(server, device):
    request = f"POST /api/v1/{device}/telemetry HTTP/1.1\r\nHost: x\r\nContent-Length: 7\r\n\r\n".encode() + b'{"a":1}'
    reader, writer = await asyncio.open_connection("127.0.0.1", server.http_port)
    server.next_acknowledgements("double", Fate("delay", 0.2), Fate("replace", body=b"oops"))
    writer.write(request)
    for _ in range(2):
        assert (await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 10)).startswith(b"HTTP/1.1 200 OK")
    began = time.monotonic()
    writer.write(request)
    assert (await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 10)).startswith(b"HTTP/1.1 200 OK")
    assert time.monotonic() - began >= 0.19
    writer.write(request)
    await asyncio.wait_for(reader.readuntil(b"oops"), 10)
    writer.close()
