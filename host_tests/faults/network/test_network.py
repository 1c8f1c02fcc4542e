"""The network-fault matrix: the connection dies or stalls at every byte, answers are lost, late, doubled."""

import multiprocessing
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace

import pytest

from tools.standin.provisioning import PRE_PROVISIONED

from .. import effort
from . import bench
from .bench import Case, Setting

pytestmark = pytest.mark.timeout(3600 if effort.ALL else 300)

WORKERS = 6 if effort.ALL else 2  # they wait most of the time
PLAIN = [
    *(Setting("mqtt", mode=mode) for mode in ("token", "server", "basic", "derived")),
    Setting("mqtt", strategy=PRE_PROVISIONED),
    Setting("mqtt", strategy=PRE_PROVISIONED, release="4.2"),
    *(Setting("http", mode=mode) for mode in ("token", "server", "derived")),
]
TLS = [Setting("mqtt", tls=True), Setting("http", tls=True)]
COAP = [Setting("coap", mode=mode) for mode in ("token", "server", "derived")]
COAP += [Setting("coap", strategy=PRE_PROVISIONED), Setting("coap", strategy=PRE_PROVISIONED, release="4.2")]


def outcomes(setting, choose):
    """The outcome of every case that choose(sizes of the connections of a boot without faults) names."""
    with ProcessPoolExecutor(WORKERS, multiprocessing.get_context("spawn"), bench.start, (setting,)) as pool:
        clean = pool.submit(bench.run, None).result()
        assert clean.ended == "right", clean
        return list(pool.map(bench.run, choose(clean.sizes), chunksize=4))


def judge(setting, results, what, record_property):
    """Print the figures; fail on the first case that did not end right."""
    ends = Counter(result.ended for result in results)
    good = ends["right"] + (ends["operator"] if setting.may_need_operator else 0)
    text = f"{setting}: {len(results)} {what}, {good} end right"
    if ends["operator"]:
        text += f" ({ends['operator']} of them after the operator's reset)"
    text += f", longest {max(result.seconds for result in results):.1f} s"
    record_property("figures", text)
    for result in results:
        assert result.ended in ("right", "operator"), f"{setting}, {result.case}: {result.ended}\n{result.log}"
        assert result.ended == "right" or setting.may_need_operator, result
    return ends


def every_byte(*whats):
    """Each of `whats` after every byte of every connection, both ways."""

    def choose(sizes):
        return [
            Case(what, link, way, at)
            for what in whats
            for link, both in enumerate(sizes)
            for way, size in zip(("up", "down"), both, strict=True)
            for at in range(size + 1)
        ]

    return choose


def sampled(choose, share, key):
    return lambda sizes: effort.some(choose(sizes), share, key)


def slow(sizes):
    """Answers that come a byte at a time, late or twice, and a server that restarts at the moment of the request."""
    late = [Case(what, i, way) for what in ("trickle", "late") for i in range(len(sizes)) for way in ("up", "down")]
    return late + [Case(what) for what in ("double", "restart", "restart after") for _ in range(3)]


@pytest.mark.parametrize("setting", PLAIN, ids=str)
def test_a_connection_that_dies_or_stalls_at_any_byte(setting, record_property):
    choose = sampled(every_byte("cut", "reset", "stall"), 0.02, str(setting))
    results = outcomes(setting, lambda sizes: choose(sizes) + slow(sizes))
    judge(setting, results, "cuts, resets, stalls, late and lost answers", record_property)


@pytest.mark.parametrize("setting", TLS, ids=str)
def test_a_tls_connection_that_dies_or_stalls_at_any_byte(setting, record_property):
    choose = sampled(every_byte("cut", "stall"), 0.003, str(setting))
    results = outcomes(setting, lambda sizes: choose(sizes) + slow(sizes))
    judge(setting, results, "cuts, stalls, late and lost answers", record_property)


@pytest.mark.parametrize("setting", COAP, ids=str)
def test_every_datagram(setting, record_property):
    def choose(sizes):
        whats = ("drop", "double", "reorder", "silence")
        [both] = sizes
        return [
            Case(what, 0, way, at)
            for what in whats
            for way, count in zip(("up", "down"), both, strict=True)
            for at in range(count)
        ] + [Case(what) for what in ("restart", "restart after")]

    judge(setting, outcomes(setting, choose), "datagrams lost, doubled and reordered", record_property)


def test_a_naive_handshake_is_caught(record_property):
    # The mutation check: it asks first and stores afterwards, and works as long as nothing gets lost.
    setting = replace(PLAIN[0], naive="handshake")
    ends = Counter(result.ended for result in outcomes(setting, sampled(every_byte("cut"), 0.2, "naive")))
    record_property("figures", f"naive handshake: {sum(ends.values())} cuts, {ends['locked out']} lock it out")
    assert ends["right"] and ends["locked out"]


def test_naive_deadlines_are_caught(record_property):
    # The mutation check: each wait has a deadline, but a server that says a byte now and then holds the board.
    setting = replace(PLAIN[0], naive="deadlines")
    results = outcomes(setting, lambda sizes: [Case("trickle", link) for link in range(len(sizes))])
    late = [result.longest for result in results if result.ended.startswith("a verb took")]
    record_property("figures", f"naive deadlines: {len(late)} of {len(results)} slow answers are caught")
    assert late
