"""The network-fault matrix: the connection dies or stalls at every byte, answers are lost, late, doubled.

On CPython it is every byte; a sample of these runs on virtual boards, which have MicroPython's sockets and mbedTLS.
CoAP over DTLS runs there only: CPython's ssl has no DTLS.
"""

from collections import Counter
from dataclasses import replace

import pytest

from tools.standin.provisioning import PRE_PROVISIONED

from .. import effort
from .cases import Case, Setting
from .workers import Workers

pytestmark = pytest.mark.timeout(3600 if effort.ALL else 300)

PLAIN = [
    *(Setting("mqtt", mode=mode) for mode in ("token", "server", "basic", "derived")),
    Setting("mqtt", strategy=PRE_PROVISIONED),
    Setting("mqtt", strategy=PRE_PROVISIONED, release="4.2"),
    *(Setting("http", mode=mode) for mode in ("token", "server", "derived")),
]
TLS = [Setting("mqtt", tls=True), Setting("mqtt", tls=True, mode="x509"), Setting("http", tls=True)]
COAP = [Setting("coap", mode=mode) for mode in ("token", "server", "derived")]
COAP += [Setting("coap", strategy=PRE_PROVISIONED), Setting("coap", strategy=PRE_PROVISIONED, release="4.2")]
VM_PLAIN = [
    *(Setting("mqtt", mode=mode, vm=True) for mode in ("token", "server", "basic", "derived")),
    Setting("mqtt", strategy=PRE_PROVISIONED, vm=True),
    Setting("mqtt", strategy=PRE_PROVISIONED, release="4.2", vm=True),
    Setting("http", vm=True),
]
VM_TLS = [replace(setting, vm=True) for setting in TLS] + [Setting("mqtt", tls=True, mode="chain", vm=True)]
VM_COAP = [
    Setting("coap", vm=True),
    *(Setting("coap", tls=True, mode=mode, vm=True) for mode in ("token", "server", "x509")),
]


@pytest.fixture(scope="module")
def workers():
    with Workers(6 if effort.ALL else 2) as made:  # they wait most of the time
        yield made


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


def sampled(choose, share, key, most=1):
    return lambda sizes: effort.some(choose(sizes), share, key, most)


def slow(sizes):
    """Answers that come a byte at a time, late or twice, and a server that restarts at the moment of the request."""
    late = [Case(what, i, way) for what in ("trickle", "late") for i in range(len(sizes)) for way in ("up", "down")]
    # In mode "chain" there is no request, and nothing happens then.
    return late + [Case(what) for what in ("double", "restart", "restart after") for _ in range(3)]


@pytest.mark.parametrize("setting", PLAIN, ids=str)
def test_a_connection_that_dies_or_stalls_at_any_byte(setting, workers, record_property):
    choose = sampled(every_byte("cut", "reset", "stall"), 0.02, str(setting))
    results = workers.outcomes(setting, lambda sizes: choose(sizes) + slow(sizes))
    judge(setting, results, "cuts, resets, stalls, late and lost answers", record_property)


@pytest.mark.parametrize("setting", TLS, ids=str)
def test_a_tls_connection_that_dies_or_stalls_at_any_byte(setting, workers, record_property):
    # Making a key takes its time, so of x509 it is a part.
    choose = sampled(every_byte("cut", "stall"), 0.003, str(setting), 0.1 if setting.mode == "x509" else 1)
    results = workers.outcomes(setting, lambda sizes: choose(sizes) + slow(sizes))
    judge(setting, results, "cuts, stalls, late and lost answers", record_property)


def datagrams(sizes):
    """Each datagram of a boot without faults lost, doubled, overtaken, and the first of a silence."""
    whats = ("drop", "double", "reorder", "silence")
    [both] = sizes
    return [
        Case(what, 0, way, at)
        for what in whats
        for way, count in zip(("up", "down"), both, strict=True)
        for at in range(count)
    ] + [Case(what) for what in ("restart", "restart after")]


@pytest.mark.parametrize("setting", COAP, ids=str)
def test_every_datagram(setting, workers, record_property):
    judge(setting, workers.outcomes(setting, datagrams), "datagrams lost, doubled and reordered", record_property)


@pytest.mark.vm
@pytest.mark.parametrize("setting", VM_PLAIN + VM_TLS, ids=str)
def test_a_board_whose_connection_dies_or_stalls_at_any_byte(setting, workers, record_property):
    most, share = (0.02, 0.001) if setting.tls else (0.1, 0.005)
    choose = sampled(every_byte("cut", "reset", "stall"), share, str(setting), most)
    late = sampled(slow, 0.25, f"slow {setting}")
    results = workers.outcomes(setting, lambda sizes: choose(sizes) + late(sizes))
    judge(setting, results, "cuts, resets, stalls, late and lost answers", record_property)


@pytest.mark.vm
@pytest.mark.parametrize("setting", VM_COAP, ids=str)
def test_a_board_that_loses_any_datagram(setting, workers, record_property):
    results = workers.outcomes(setting, sampled(datagrams, 0.15 if setting.tls else 0.3, str(setting)))
    judge(setting, results, "datagrams lost, doubled and reordered", record_property)


@pytest.mark.parametrize("vm", [False, pytest.param(True, marks=pytest.mark.vm)], ids=["CPython", "VM"])
def test_a_naive_handshake_is_caught(vm, workers, record_property):
    # The mutation check: it asks first and stores afterwards, and works as long as nothing gets lost.
    setting = replace(PLAIN[0], naive="handshake", vm=vm)
    # On the VM of the first connection only: what this one crashes of on the second costs ten seconds each.
    choose = sampled(lambda sizes: every_byte("cut")(sizes[: 1 if vm else None]), 0.05 if vm else 0.2, "naive")
    ends = Counter(result.ended for result in workers.outcomes(setting, choose))
    record_property("figures", f"naive handshake, {setting}: {ends.total()} cuts, {ends['locked out']} lock it out")
    assert ends["right"] and ends["locked out"]


@pytest.mark.parametrize("vm", [False, pytest.param(True, marks=pytest.mark.vm)], ids=["CPython", "VM"])
def test_naive_deadlines_are_caught(vm, workers, record_property):
    # The mutation check: each wait has a deadline, but a server that says a byte now and then holds the board.
    setting = replace(PLAIN[0], naive="deadlines", vm=vm)
    results = workers.outcomes(setting, lambda sizes: [Case("trickle", link) for link in range(len(sizes))])
    late = [result.longest for result in results if result.ended.startswith("a verb took")]
    record_property("figures", f"naive deadlines, {setting}: {len(late)} of {len(results)} slow answers are caught")
    assert late
