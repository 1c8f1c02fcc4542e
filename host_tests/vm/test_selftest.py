"""firstboot.selftest on a virtual board: what a person at the REPL of a real one sees."""

import re

import pytest

from tools.stage import Stage

pytestmark = pytest.mark.vm

SELFTEST = b"import firstboot.selftest\nfirstboot.selftest.run()\n"


def figures(log):
    return {name: int(value) for name, value in re.findall(r"^([a-z0-9_]+) +(-?\d+)$", log, re.M)}


def test_a_provisioned_board_measures_itself():
    with Stage() as stage:
        image = stage.image()
        assert stage.board(image).run("telemetry: acknowledged").ended == "found"
        image.put({"/main.py": SELFTEST})
        run = stage.board(image).run(timeout=60)
        assert run.ended == "idle", run.log
        found = figures(run.log)
        name = stage.standin.devices()[0].name
        sent = [key for key, _, _ in stage.standin.received(name)].count("selftest")
    assert sent == 51
    assert found["publish_alloc_bytes"] == 0
    assert found["qos1_per_s"] > 100
    assert 0 < found["loop_code_heap_bytes"] < 16_000
    assert found["heap_in_use_connected_bytes"] > 0 and found["heap_free_bytes"] > 0
    assert found["x509_ms"] > 0


def test_without_an_identity_it_says_so():
    with Stage() as stage:
        image = stage.image()
        image.put({"/main.py": SELFTEST})
        run = stage.board(image).run(timeout=60)
        assert run.ended == "idle" and run.has("no identity yet"), run.log
        assert not stage.standin.devices()
