"""The user's handlers on a virtual board, called from the server's side."""

import pytest

from tools.stage import Stage

pytestmark = pytest.mark.vm

APP = b"""\
count = 0
interval = 0


def read():
    global count
    count += 1
    return {"count": count, "interval": interval}


def on_rpc(method, params):
    if method == "add":
        return {"sum": sum(params)}
    raise ValueError("no method " + method)


def on_attributes(values):
    global interval
    interval = values.get("interval", 0)
"""
CONFIG = {"period": 0.05, "retry": {"first": 0.05, "most": 0.1}, "server": {"timeout": 5}}


@pytest.fixture
def stage():
    with Stage(files={"/app.py": APP}, config=CONFIG) as stage:
        yield stage


def latest(stage, name, key):
    values = [value for k, _, value in stage.standin.telemetry(name) if k == key]
    return values[-1] if values else None


def test_rpc_and_attributes(stage):
    standin, image = stage.standin, stage.image()
    with stage.board(image) as board:
        assert board.wait("telemetry: acknowledged"), board.run_so_far.log
        name = standin.devices()[0].name
        assert standin.rpc(name, "add", [1, 2, 3], timeout=20) == {"sum": 6}
        assert standin.rpc(name, "fly", timeout=20) == {"error": "ValueError: no method fly"}
        assert standin.wait_for(lambda s: s.attributes(name).get("handler_errors") == 1, 20)

        standin.set_shared(name, {"interval": 5})
        assert standin.wait_for(lambda s: latest(stage, name, "interval") == 5, 20)
    # What changes while the board is away is there when it is back, though nobody pushes it.
    standin.set_shared(name, {"interval": 6})
    with stage.board(image) as board:
        assert standin.wait_for(lambda s: latest(stage, name, "interval") == 6, 20), board.run_so_far.log
        standin.end_session(name)
        assert board.wait("connection lost"), board.run_so_far.log
        assert standin.rpc(name, "add", [4], timeout=20) == {"sum": 4}


def test_what_the_server_sends_to_an_app_without_handlers_does_no_harm(stage):
    image = stage.image()
    image.put({"/app.py": b"def read():\n    return {'a': 1}\n"})
    with stage.board(image) as board:
        assert board.wait("telemetry: acknowledged"), board.run_so_far.log
        name = stage.standin.devices()[0].name
        stage.standin.set_shared(name, {"interval": 5})
        seen = len(stage.standin.telemetry(name))
        assert stage.standin.wait_for(lambda s: len(s.telemetry(name)) > seen + 5, 20)
        assert not board.run_so_far.has("connection lost|inbox")
