"""An update over a network that cuts, stalls and turns bytes over: what is installed in the end is the package."""

from concurrent.futures import ThreadPoolExecutor

import pytest

from host_tests.unit.packages import tar
from tools.stage import Stage
from tools.standin.faults import Fault, TcpProxy, Way

from .. import effort

pytestmark = [pytest.mark.vm, pytest.mark.timeout(1800 if effort.ALL else 300)]

APP = b"def read():\n    return {'app': %d}\n"
DATA = bytes(i * 7 & 255 for i in range(20000))
PACKAGE = tar({"app.py": APP % 2, "data": DATA})
CONFIG = {"ota": {"check": 0.2}, "period": 0.05, "retry": {"first": 0.05, "most": 0.1}}
WORKERS = 3

# The first two connections go well up to a byte, all others to their end.
KINDS = {
    "cut down": lambda at: Fault(down=Way(cut=at)),
    "cut up": lambda at: Fault(up=Way(cut=at // 8)),
    "reset": lambda at: Fault(down=Way(cut=at), reset=True),
    "stall": lambda at: Fault(down=Way(stall=at)),
    "flip": lambda at: Fault(down=Way(flip=(at,))),
    "pieces": lambda at: Fault(down=Way(piece=1 + at % 97)),
}
CASES = [(transport, kind, at) for transport in ("mqtt", "http") for kind in KINDS for at in range(150, 24000, 317)]


def outcome(case):
    """ "right", or what went wrong with a board whose first two connections have this fault."""
    transport, kind, at = case
    with Stage(transport, files={"/app.py": APP % 1}, config={**CONFIG, "server": {"timeout": 0.5}}) as stage:
        image = stage.image()
        stage.board(image).run("telemetry: acknowledged")
        device = stage.standin.devices()[0].name
        stage.standin.assign(stage.standin.add_package("sw", "new", "2", PACKAGE), device=device)
        port = getattr(stage.standin, f"{transport}_port")
        with TcpProxy(port, lambda number: KINDS[kind](at) if number < 2 else Fault()) as proxy:
            stage.more = {**stage.more, "server": {"host": "127.0.0.1", "port": proxy.port, "timeout": 0.5}}
            image.put({"/config.json": stage.document()})

            def is_over(_):
                return any(
                    key == "sw_state" and value == "UPDATED" for key, _, value in stage.standin.telemetry(device)
                )

            run = stage.board(image).run(is_over, 60)
        if run.ended != "found":
            return f"{case}: {run.ended}\n{run.log}"
        if image.get("/update.1/data") != DATA:
            return f"{case}: something else is installed\n{run.log}"
    return "right"


def test_an_update_gets_there(record_property):
    chosen = effort.some(CASES, 0.03, "ota")
    with ThreadPoolExecutor(WORKERS) as pool:
        wrong = [found for found in pool.map(outcome, chosen) if found != "right"]
    assert not wrong, f"{len(wrong)} of {len(chosen)}\n" + "\n".join(wrong[:2])
    record_property(
        "figures", f"update over MQTT and HTTP: {len(chosen)} of {len(CASES)} faults of the network, all right"
    )
