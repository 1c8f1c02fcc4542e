"""The CoAP transport beyond provisioning: telemetry, attributes, observe, RPC, limits (contract 2.5 and 5 to 10)."""

import asyncio
import json

import aiocoap
import pytest

from tools.standin import Fate, Limits

from .client import Client

# aiocoap warns of its own ways, and of the callbacks that lose nothing.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")


@pytest.fixture
async def coap(server):
    """A function: method, path below api/v1, payload -> (code as text, payload)."""
    context = await aiocoap.Context.create_client_context(transports=["udp6"])

    def request(method, path, body=b"", **options):
        uri = f"coap://127.0.0.1:{server.coap_port}/api/v1/{path}"
        return context.request(aiocoap.Message(code=getattr(aiocoap, method), uri=uri, payload=body, **options))

    async def ask(method, path, body=b"", patience=10, **options):
        answer = await asyncio.wait_for(request(method, path, body, **options).response, patience)
        return answer.code.dotted, answer.payload

    ask.request = request
    yield ask
    await context.shutdown()


async def observed(coap, path):
    """An observation: its first notification, and a function that awaits the next; aiocoap's iterator drops some."""
    request = coap.request("GET", path, observe=0)
    notifications = asyncio.Queue()
    request.observation.register_callback(notifications.put_nowait)
    request.observation.register_errback(notifications.put_nowait)
    first = await asyncio.wait_for(request.response, 10)
    assert first.opt.observe == 0

    async def following():
        return await asyncio.wait_for(notifications.get(), 10)

    following.request = request  # the observation lives as long as it
    return first, following


async def silence(asking):
    with pytest.raises(asyncio.TimeoutError):
        await asking


async def test_a_bad_token_is_4_01(server, device, coap):
    for method, path in (
        ("POST", "telemetry"),
        ("POST", "attributes"),
        ("GET", "attributes"),
        ("POST", "rpc/0"),
        ("POST", "claim"),
    ):
        assert await coap(method, f"nobody/{path}", b"{}" if method == "POST" else b"") == ("4.01", b"")


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b'{"a":1}', "2.01"),
        (b"{}", "2.01"),
        (b"", "4.00"),
        (b"{", "4.00"),
        (b"[1]", "4.00"),
        (b'{"ts":1,"values":3}', "4.00"),
        (b'{"ts":null,"values":{"a":1}}', "5.00"),
        (b'{"ts":1e400,"values":{"a":1}}', "5.00"),
    ],
)
async def test_telemetry(server, device, coap, body, code):
    assert await coap("POST", f"{device}/telemetry", body) == (code, b"")


async def test_an_empty_array_gets_no_answer(server, device, coap):
    await silence(coap("POST", f"{device}/telemetry", b"[]", 0.3))


async def test_attributes(server, device, coap):
    assert await coap("GET", f"{device}/attributes") == ("4.04", b"")
    assert await coap("POST", f"{device}/attributes", b'{"c":1}') == ("2.01", b"")
    code, body = await coap("GET", f"{device}/attributes?clientKeys=c,d")
    assert (code, json.loads(body)) == ("2.05", {"client": {"c": 1}})
    await silence(coap("GET", f"{device}/attributes?clientKeys=c,,d", patience=0.3))
    assert await coap("GET", f"{device}/attributes?clientKeys=c,") == ("2.05", b'{"client": {"c": 1}}')
    assert await coap("GET", f"{device}/telemetry") == ("4.04", b"")


async def test_observing_shared_attributes(server, device, coap):
    await asyncio.to_thread(server.set_shared, device, {"a": 1, "b": 2})
    first, following = await observed(coap, f"{device}/attributes")
    assert first.code.dotted == "2.05"
    assert json.loads(first.payload) == {"a": 1, "b": 2}
    for value in range(3):
        await asyncio.to_thread(server.set_shared, device, {"a": value})
    for value in range(3):
        assert json.loads((await following()).payload) == {"a": value}
    await asyncio.to_thread(server.delete_shared, device, ["a"])
    assert json.loads((await following()).payload) == {"deleted": ["a"]}


async def test_nothing_shared_is_an_empty_first_notification(server, device, coap):
    first, _ = await observed(coap, f"{device}/attributes")
    assert first.payload == b"{}"


async def test_rpc_to_the_device(server, device, coap):
    first, following = await observed(coap, f"{device}/rpc")
    assert (first.code.dotted, first.payload) == ("2.03", b"")
    # Several at once: none is lost.
    calling = [asyncio.create_task(asyncio.to_thread(server.rpc, device, "led", n)) for n in range(3)]
    for _ in calling:
        call = json.loads((await following()).payload)
        assert call["method"] == "led"
        reply = json.dumps({"got": call["params"]}).encode()
        assert await coap("POST", f"{device}/rpc/{call['id']}", reply) == ("2.01", b"")
    assert [await task for task in calling] == [{"got": n} for n in range(3)]
    assert await coap("POST", f"{device}/rpc/0", b"no object") == ("5.00", b"")


async def test_rpc_from_the_device(server, device, coap):
    server.methods["add"] = lambda params: {"sum": sum(params or [])}
    assert await coap("POST", f"{device}/rpc", b'{"method":"add","params":[1,2]}') == ("2.05", b'{"sum": 3}')
    assert await coap("POST", f"{device}/rpc", b'{"method":"add"}') == ("2.05", b'{"sum": 0}')
    assert await coap("POST", f"{device}/rpc", b'{"params":1}') == ("5.00", b"")
    await silence(coap("POST", f"{device}/rpc", b'{"method":"unknown"}', 0.3))


async def test_an_observation_is_the_device_s_one_session(server, device, coap):
    async with Client(server.mqtt_port) as client:
        await client.connect("x", device)
        _, following = await observed(coap, f"{device}/rpc")
        assert await client.receive() is None
    async with Client(server.mqtt_port) as client:
        assert (await client.connect("x", device)).return_code == 0
        last = await following()
        assert isinstance(last, aiocoap.error.ObservationCancelled) or last.code.dotted == "5.03"


async def test_rate_limits(server, device, coap):
    server.set_limits(Limits(messages="1:60", telemetry_points="1:60"))
    assert await coap("POST", f"{device}/telemetry", b'{"a":1}') == ("2.01", b"")
    assert await coap("POST", f"{device}/telemetry", b'{"a":1}') == ("5.00", b"")
    assert await coap("GET", f"{device}/attributes") == ("4.04", b"")
    assert await coap("GET", f"{device}/attributes") == ("5.00", b"")


async def test_observations_are_counted_by_the_limits(server, device, coap):
    server.set_limits(Limits(messages="2:60"))
    await observed(coap, f"{device}/attributes")
    await observed(coap, f"{device}/rpc")
    assert await coap("GET", f"{device}/rpc", observe=0) == ("5.00", b"")


@pytest.mark.parametrize(("transport", "code"), [("COAP", "2.01"), ("DEFAULT", "2.01"), ("MQTT", "5.00")])
async def test_a_profile_for_one_transport(server, coap, transport, code):
    profile = server.add_profile(f"for {transport}", key=f"key-{transport}", info={"transportType": transport})
    server.add_device(f"coap-{transport}", profile, f"coap-{transport}")
    assert await coap("POST", f"coap-{transport}/attributes", b'{"a":1}') == (code, b"")
    code = "2.05" if code == "2.01" else code
    assert (await coap("GET", f"coap-{transport}/attributes"))[0] == code
    assert (await coap("GET", f"coap-{transport}/attributes", observe=0))[0] == code


async def test_claim(server, device, coap):
    assert await coap("POST", f"{device}/claim", b"") == ("2.01", b"")
    assert server.device(device).id in server.core.claims


async def test_fates_of_an_answer(server, device, coap):
    server.next_acknowledgements("double", Fate("replace", body=b"oops"), "drop")
    assert await coap("POST", f"{device}/telemetry", b'{"a":1}') == ("2.01", b"")
    assert await coap("POST", f"{device}/telemetry", b'{"a":1}') == ("2.01", b"oops")
    await silence(coap("POST", f"{device}/telemetry", b'{"a":1}', 0.3))
    assert len(server.received(device)) == 3
