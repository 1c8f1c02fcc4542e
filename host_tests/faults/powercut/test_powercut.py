"""Power cuts at every flash operation of a first boot, a rotation and a config change; and naive firmware, caught."""

import random
from collections import Counter

import pytest

from tools.build import compile_file
from tools.standin.provisioning import PRE_PROVISIONED

from .. import effort
from .simulator import NAIVE, Scenario, every_cut, simulate

pytestmark = [pytest.mark.vm, pytest.mark.timeout(1800 if effort.ALL else 300)]

PICO = "RPI_PICO_W"

SCENARIOS = [
    *(Scenario(f"first boot, {mode}", credentials=mode) for mode in ("token", "server", "basic", "derived")),
    Scenario("first boot, token, Pico W", kind=PICO),
    Scenario("first boot, server, Pico W", kind=PICO, credentials="server"),
    Scenario("first boot, pre-provisioned", strategy=PRE_PROVISIONED),
    Scenario("first boot, pre-provisioned, Pico W", kind=PICO, strategy=PRE_PROVISIONED),
    Scenario("first boot, pre-provisioned, 4.2", strategy=PRE_PROVISIONED, release="4.2"),
    Scenario("rotation", before="verified"),
    Scenario("rotation, basic", before="verified", credentials="basic"),
    Scenario("rotation, Pico W", kind=PICO, before="verified"),
    Scenario("rotation, pre-provisioned, 4.2", strategy=PRE_PROVISIONED, release="4.2", before="verified"),
    Scenario("config change", before="no config"),
    Scenario("config change, Pico W", kind=PICO, before="no config"),
]


def names(scenario):
    return scenario.name


def report(scenario, operations, cases, what, record_property):
    """Print the figures, fail on the first case that did not end right."""
    ends = Counter(case.ended for case in cases)
    good = ends["right"] + (ends["operator"] if scenario.may_need_operator else 0)
    text = f"{scenario.name}: {operations} operations, {len(cases)} {what}, {good} end right"
    if ends["operator"]:
        text += f" ({ends['operator']} of them after the operator's reset)"
    record_property("figures", text)
    for case in cases:
        assert case.ended in ("right", "operator"), f"{scenario.name}, cut at {case.cut}: {case.ended}\n{case.log}"
    return ends


@pytest.mark.parametrize("scenario", SCENARIOS, ids=names)
def test_a_cut_at_every_operation(scenario, record_property):
    operations, cases = simulate(scenario, lambda n: effort.some(every_cut(n), 0.3, scenario.name))
    assert len(cases) >= (3 * operations if effort.ALL else operations // 2)
    report(scenario, operations, cases, "cuts", record_property)


@pytest.mark.parametrize("scenario", SCENARIOS[:5], ids=names)
def test_a_second_cut_while_it_recovers(scenario, record_property):
    def pairs(operations):
        draw = random.Random(f"{effort.SEED}/{scenario.name}")
        one = [case[0] for case in every_cut(operations)]
        return [(draw.choice(one), draw.choice(one)) for _ in range(100 if effort.ALL else 4)]

    report(scenario, *simulate(scenario, pairs), "double cuts", record_property)


def naive(*modules, **more):
    """A first boot of a firmware in which these modules are the naive ones."""
    files = {
        f"/lib/firstboot/{module}.mpy": compile_file(NAIVE / f"{module}.py", f"firstboot/{module}.py", short=True)
        for module in modules
    }
    return Scenario(f"naive {' and '.join(modules)}", files=files, **more)


@pytest.mark.parametrize(
    "scenario",
    [
        naive("provision"),
        naive("provision", kind=PICO),
        naive("store", kind=PICO),
        naive("store", kind=PICO, before="verified"),
    ],
    ids=lambda s: f"{s.name}, {s.kind}, {s.before}",
)
def test_naive_firmware_is_caught(scenario, record_property):
    # The mutation check: a simulator that can't tell these from the real thing is worth nothing. They all work as
    # long as the power stays, or simulate() would not have come to count their operations.
    _, cases = simulate(scenario, lambda n: every_cut(n)[:: 1 if effort.ALL else 3])
    ends = Counter(case.ended for case in cases)
    record_property("figures", f"{scenario.name}, {scenario.kind}: {len(cases)} cuts, {ends['locked out']} lock it out")
    assert ends["locked out"]
