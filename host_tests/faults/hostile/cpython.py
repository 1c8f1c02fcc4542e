"""Runs cases on CPython, in a process of its own: here the firmware's modules stay in memory, for speed."""

import os
import sys
import tempfile
import traceback
import types

from . import mutate, seeds


def start():
    """Make this process a board: an empty directory is its flash."""
    import micro

    micro.install()
    sys.modules["requests"] = None  # type: ignore[assignment]  # the firmware's is urequests
    os.chdir(tempfile.mkdtemp())
    import firstboot

    from . import targets

    firstboot.forget = lambda name: None
    app = types.ModuleType("hostile_app")
    user = targets.App()
    app.read, app.on_rpc, app.on_attributes = user.read, user.on_rpc, user.on_attributes
    sys.modules["hostile_app"] = app
    targets.silence()


def reader(name, weakness=None):
    """The target `name`, with this weakness."""
    from . import targets

    if weakness:
        WEAKNESSES[weakness]()
    target = targets.TARGETS[name]()
    target(seeds.seeds()[name][0])  # whatever its weakness, it reads what is well-formed
    return target


def run(name, count, seed, weakness=None):
    """(cases, number of finds, the first three of them with their inputs)."""
    target = reader(name, weakness)
    found, texts = 0, []
    done = 0
    for data in mutate.cases(seeds.seeds()[name], count, f"{seed}/{name}"):
        done += 1
        try:
            target(data)
        except Exception:  # noqa: BLE001 - whatever comes out is what is looked for
            found += 1
            if len(texts) < 3:
                texts.append(f"case {done} of seed {seed}/{name}: {data!r}\n{traceback.format_exc()}")
    return done, found, texts


def explore(name, count, seed=None, weakness=None):
    """(inputs made by hypothesis from the grammar, what it found or ""). Without a seed always the same ones."""
    import hypothesis

    from . import shapes

    target = reader(name, weakness)
    done = 0

    @hypothesis.settings(
        max_examples=count,
        derandomize=seed is None,
        phases=[hypothesis.Phase.generate] if weakness else list(hypothesis.Phase),
        database=None,
        deadline=None,
        suppress_health_check=list(hypothesis.HealthCheck),
    )
    @hypothesis.given(shapes.SHAPES[name])
    def case(data):
        nonlocal done
        done += 1
        target(data)

    try:
        (case if seed is None else hypothesis.seed(seed)(case))()
    except Exception:  # noqa: BLE001 - whatever comes out is what is looked for
        return done, f"{name}, seed {seed}: {traceback.format_exc()}"
    return done, ""


# Naive variants of what reads the bytes, for the mutation check.


def _believes_any_value():
    from firstboot import codec

    codec._text = lambda value: value


def _believes_any_record():
    import json

    from firstboot import record

    record._record = lambda data: json.loads(data[8:]) if data else None


def _hands_every_datagram_on():
    from firstboot.link.coap import Link

    Link.recvfrom = lambda self, size: (self.sock.recv(size), None)


def _believes_any_length():
    from firstboot.link import mqtt_packet

    def received(link, qos, body):
        link.inbox += ((body[2 : 2 + body[1]], body[2 + body[1] + 2 :]),)

    mqtt_packet._received = received


def _believes_any_status():
    from firstboot.link.http import Link

    def answer(link):
        status = int(link.line().split()[1])
        while link.line():
            pass
        if link.rest:
            link.close()
        return status, b""

    Link.answer = answer


WEAKNESSES = {
    "any value": _believes_any_value,
    "any record": _believes_any_record,
    "every datagram": _hands_every_datagram_on,
    "any length": _believes_any_length,
    "any status": _believes_any_status,
}
