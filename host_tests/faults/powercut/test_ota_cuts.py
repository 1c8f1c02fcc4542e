"""Power cuts while a board updates itself: it ends with the new app or image, or the old one, and goes on."""

from concurrent.futures import ThreadPoolExecutor

import pytest

from host_tests.unit.packages import tar
from tools.stage import Stage
from tools.vboard import PowerCut

from .. import effort
from .simulator import WORKERS

pytestmark = [pytest.mark.vm, pytest.mark.timeout(1800 if effort.ALL else 300)]

APP = b"def read():\n    return {'app': %d}\n"
GOOD = tar({"app.py": b"import more\n\n\ndef read():\n    return {'app': more.number}\n", "more.py": b"number = 2\n"})
BAD = tar({"app.py": b"import nothing_of_that_name\n"})
IMAGE = b"\xe9" + bytes(i * 13 & 255 for i in range(30000))
CONFIG = {"ota": {"check": 0.3}, "period": 0.05, "retry": {"first": 0.05, "most": 0.1}}
TORN = ("before", "half", "after")

# What is assigned, what the server hears in the end, and which app runs then.
KINDS = {
    "software": ("sw", GOOD, "UPDATED", 2),
    "software that fails": ("sw", BAD, "FAILED", 1),
    "firmware": ("fw", IMAGE, "UPDATED", 1),
}


def updated(stage, image, kind, end, cut=None):
    """Power a board up until the server has heard of the update's end; returns what it did."""
    name = stage.standin.devices()[0].name

    def is_over(_):
        return [value for key, _, value in stage.standin.telemetry(name) if key == f"{kind}_state"][-1:] == [end]

    return stage.board(image, ota=True, cut=cut, trace=cut is None).run(is_over, 40)


def outcome(case):
    """ "right", or what went wrong when the power went at this operation, and came back."""
    name, at, torn = case
    kind, data, end, app = KINDS[name]
    with Stage(files={"/app.py": APP % 1}, config=CONFIG) as stage:
        image = stage.image()
        stage.board(image, ota=True).run("telemetry: acknowledged")
        device = stage.standin.devices()[0].name
        stage.standin.assign(stage.standin.add_package(kind, "new", "2", data), device=device)
        updated(stage, image, kind, end, PowerCut(at, torn))
        run = updated(stage, image, kind, end)
        if run.ended != "found":
            return f"{case}: no end\n{run.log}"
        again = stage.board(image, ota=True).run("telemetry: acknowledged")
        value = [v for key, _, v in stage.standin.telemetry(device) if key == "app"][-1]
        if again.ended != "found" or value != app or len(stage.standin.devices()) != 1:
            return f"{case}: app {value}\n{again.log}"
    return "right"


def operations(name):
    """How many flash operations the update has, from the boot that finds it to its end."""
    kind, data, end, _ = KINDS[name]
    with Stage(files={"/app.py": APP % 1}, config=CONFIG) as stage:
        image = stage.image()
        stage.board(image, ota=True).run("telemetry: acknowledged")
        device = stage.standin.devices()[0].name
        stage.standin.assign(stage.standin.add_package(kind, "new", "2", data), device=device)
        run = updated(stage, image, kind, end)
        assert run.ended == "found", run.log
        return len(run.event("flash"))


@pytest.mark.parametrize("name", KINDS)
def test_cuts(name, record_property):
    count = operations(name)
    cases = [(name, at, torn) for at in range(1, count + 1) for torn in TORN]
    chosen = effort.some(cases, 0.08, name)
    with ThreadPoolExecutor(WORKERS) as pool:
        wrong = [found for found in pool.map(outcome, chosen) if found != "right"]
    assert not wrong, f"{len(wrong)} of {len(chosen)}\n" + "\n".join(wrong[:3])
    record_property("figures", f"update, {name}: {len(chosen)} of {len(cases)} power cuts, all right")
