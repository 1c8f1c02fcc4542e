"""Every CoAP row of the contract's vectors, over a UDP socket to the stand-in."""

import asyncio
import time

import aiocoap
import pytest

from tools.standin import Standin

from .vectors import SCALE, body_of, check_delay, check_state, compare_body, load, release_of, rows

ROWS = rows("coap")


def test_there_are_rows():
    assert len(ROWS) == 99


@pytest.mark.parametrize("row", ROWS, ids=[row["name"] for row in ROWS])
async def test_row(row):
    expect = row["expect"]
    with Standin(release=release_of(row), scale=SCALE) as server:
        load(server.registry, row["server_state"])
        began = time.monotonic()
        code, body = await ask(server.coap_port, row["request"])
        seconds = time.monotonic() - began
        assert code == expect["coap_code"]
        bound = {}
        compare_body(body, expect["body"], bound)
        check_state(server.registry, expect["server_state_after"], bound)
        check_delay(expect, seconds)


async def ask(port, request):
    """The code as text ("2.01") and the body of the answer."""
    uri = f"coap://127.0.0.1:{port}/{request['path']}"
    message = aiocoap.Message(code=getattr(aiocoap, request["method"]), uri=uri, payload=body_of(request))
    context = await aiocoap.Context.create_client_context(transports=["udp6"])
    try:
        answer = await asyncio.wait_for(context.request(message).response, 5)
    finally:
        await context.shutdown()
    return answer.code.dotted, answer.payload
