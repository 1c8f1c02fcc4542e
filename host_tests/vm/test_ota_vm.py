"""Updates on virtual boards: over each transport, kept or left, cut and lost on the way."""

import json
import re

import pytest

from host_tests.unit.packages import tar
from tools.build import compile_file
from tools.places import FIRMWARE
from tools.stage import Stage
from tools.standin.updates import Updates
from tools.vboard import Image

pytestmark = pytest.mark.vm

APP = b'import gc\n\n\ndef read():\n    return {"app": %d}\n'
NEW = tar({"app.py": b"import more\n\n\ndef read():\n    return {'app': more.number}\n", "more.py": b"number = 2\n"})
CONFIG = {
    "ota": {"check": 0.3},
    "period": 0.05,
    "retry": {"first": 0.05, "most": 0.1},
    "server": {"timeout": 5},
}
WAYS = [("mqtt", False), ("http", False), ("coap", False), ("mqtt", True), ("http", True)]


def open_stage(transport="mqtt", tls=False, **more):
    files = {"/app.py": APP % 1}
    return Stage(transport, tls, files=files, config={**CONFIG, **more})


def offer(stage, data, version, kind="sw", **more):
    """Assign a package to the stage's one device."""
    name = stage.standin.devices()[0].name
    package = stage.standin.add_package(kind, "app", version, data, **more)
    stage.standin.assign(package, device=name)
    return name


def told(stage, key):
    """All values of a telemetry key, in order."""
    name = stage.standin.devices()[0].name
    return [value for k, _, value in stage.standin.received(name) if k == key]


def provisioned(stage, **more):
    """An image whose board has introduced itself."""
    image = stage.image()
    run = stage.board(image, **more).run("telemetry: acknowledged")
    assert run.ended == "found", run.log
    return image


@pytest.mark.parametrize(("transport", "tls"), WAYS)
def test_a_new_app(transport, tls):
    with open_stage(transport, tls) as stage:
        image = provisioned(stage)
        offer(stage, NEW, "1.2", algorithm="SHA256")
        run = stage.board(image).run(lambda _: told(stage, "app")[-1:] == [2] and "UPDATED" in told(stage, "sw_state"))
        assert run.ended == "found", run.log
        states = ["QUEUED", "INITIATED", "DOWNLOADING", "DOWNLOADED", "VERIFIED", "UPDATING", "UPDATED"]
        assert told(stage, "sw_state") == states
        assert told(stage, "current_sw_title") == ["app"]
        # The next boot starts with it, and what was flashed is untouched.
        assert stage.board(image).run("telemetry: acknowledged").ended == "found"
        assert told(stage, "app")[-1] == 2
        assert image.get("/app.py") == APP % 1
        assert not image.exists("/update.part")


def test_a_download_hardly_holds_up_the_samples():
    # 200 KB take several periods.
    with open_stage() as stage:
        image = provisioned(stage)
        offer(stage, tar({"app.py": APP % 2, "data": bytes(range(256)) * 800}), "2")
        run = stage.board(image).run("is installed")
        assert run.ended == "found", run.log
        began, ended = (next(at for at, line in run.lines if text in line) for text in ("the server has", "installed"))
        samples = len(told(stage, "app"))
        assert samples >= (ended - began) / 0.05 / 2, (samples, ended - began)


BAD = {
    "can't be imported": b"import nothing_of_that_name\n",
    "raises": b"def read():\n    raise ValueError('no sensor')\n",
    "no dict": b"def read():\n    return 5\n",
}


@pytest.mark.parametrize("kind", BAD)
def test_an_app_that_fails_is_left(kind):
    with open_stage() as stage:
        image = provisioned(stage)
        offer(stage, tar({"app.py": BAD[kind]}), "2")
        run = stage.board(image).run(lambda _: "FAILED" in told(stage, "sw_state"))
        assert run.ended == "found", run.log
        assert told(stage, "sw_error") == ["read() of its app fails"]
        assert told(stage, "app")[-1] == 1
        # Not again, until something else is assigned: 20 samples are a second, in which it looks three times.
        before = len(told(stage, "app"))
        run = stage.board(image).run(lambda _: len(told(stage, "app")) >= before + 20)
        assert run.ended == "found", run.log
        assert run.boots == 1 and "update: the server has" not in run.log


def test_an_app_that_crashes_the_board_is_left():
    crash = b"import machine\n\n\ndef read():\n    machine.reset()\n"
    with open_stage() as stage:
        image = provisioned(stage)
        offer(stage, tar({"app.py": crash}), "2")
        run = stage.board(image).run(lambda _: "FAILED" in told(stage, "sw_state"))
        assert run.ended == "found", run.log
        assert told(stage, "sw_error") == ["it did not reach the server in 3 boots"]
        assert run.boots == 1 + 3 + 1
        assert "safe mode" not in run.log


DEAF = b"""\
import network


class Deaf:
    def __init__(self, interface):
        pass

    def isconnected(self):
        return False

    def active(self, flag):
        pass

    def connect(self, ssid, password):
        pass

    def status(self):
        return 0

    def disconnect(self):
        pass

    def config(self, **settings):
        pass


network.WLAN = Deaf


def read():
    return {"app": 3}
"""


def test_an_app_that_can_not_connect_is_left(tmp_path):
    source = (FIRMWARE / "firstboot/ota/loop.py").read_text()
    quick = tmp_path / "loop.py"
    quick.write_text(source.replace("const(600000)", "const(700)"))  # ten minutes a boot are too long for a test
    assert quick.read_text() != source
    with open_stage(wifi={"timeout": 1}) as stage:
        image = provisioned(stage)
        loop = compile_file(quick, "firstboot/ota/loop.py", strip=True, short=True)
        image.put({"/lib/firstboot/ota/loop.mpy": loop})
        offer(stage, tar({"app.py": DEAF}), "3")
        run = stage.board(image).run(lambda _: "FAILED" in told(stage, "sw_state"), timeout=40)
        assert run.ended == "found", run.log
        assert told(stage, "sw_error") == ["it did not reach the server in 3 boots"]
        assert told(stage, "app")[-1] == 1
        assert "wifi: no connection within 1 s" in run.log


def test_two_in_a_row_and_back():
    with open_stage() as stage:
        image = provisioned(stage)
        for number in (2, 3):
            offer(stage, tar({"app.py": APP % number}), str(number))
            run = stage.board(image).run(
                lambda _, n=number: n in told(stage, "app") and told(stage, "sw_state")[-1] == "UPDATED"
            )
            assert run.ended == "found", run.log
        assert {path.split("/")[1] for path in image.ls() if path.startswith("/update.")} == {"update.0", "update.json"}
        offer(stage, tar({"app.py": BAD["raises"]}), "4")
        run = stage.board(image).run(lambda _: "FAILED" in told(stage, "sw_state"))
        assert run.ended == "found", run.log
        assert stage.board(image).run("telemetry: acknowledged").ended == "found"
        assert told(stage, "app")[-1] == 3


def test_the_connection_is_lost_on_the_way(monkeypatch):
    cuts = {100, 300}  # chunks at whose request the server hangs up, once each
    served = Updates.chunk

    def chunk(self, package, size, number):
        if number in cuts:
            cuts.remove(number)
            raise ValueError("hung up")
        return served(self, package, size, number)

    monkeypatch.setattr(Updates, "chunk", chunk)
    with open_stage() as stage:
        image = provisioned(stage)
        offer(stage, tar({"app.py": APP % 2, "data": bytes(range(256)) * 1040}), "2")
        board = stage.board(image, heap=56 * 1024)  # which takes small chunks
        run = board.run(lambda _: "UPDATED" in told(stage, "sw_state"))
        assert run.ended == "found", run.log
        assert not cuts
        assert re.findall(r"update: going on at byte (\d+)", run.log) == ["51200", "153600"]


IMAGE = b"\xe9" + bytes(i * 13 & 255 for i in range(30000))


def test_firmware():
    with open_stage() as stage:
        image = provisioned(stage, ota=True)
        offer(stage, IMAGE, "9", "fw", algorithm="CRC32")
        board = stage.board(image, ota=True)
        run = board.run(lambda _: "UPDATED" in told(stage, "fw_state"))
        assert run.ended == "found", run.log
        assert board.bootloader.next() == (1, "valid")
        assert board.bootloader.content(1, len(IMAGE)) == IMAGE
        # And the next one goes back into the first.
        offer(stage, IMAGE + b"more", "10", "fw")
        run = board.run(lambda _: told(stage, "current_fw_version")[-1] == 10)
        assert run.ended == "found", run.log
        assert board.bootloader.next() == (0, "valid")


def test_firmware_that_does_not_reach_the_server():
    # The trial of it fails as its app does, which stands here for all that can be wrong with an image.
    with open_stage() as stage:
        image = provisioned(stage, ota=True)
        offer(stage, IMAGE, "9", "fw")
        board = stage.board(image, ota=True)
        run = board.run("is installed")
        image.put({"/app.py": BAD["raises"]})
        run = board.run(lambda _: board.bootloader.next() == (0, "valid") and "FAILED" in told(stage, "fw_state"))
        assert run.ended == "found", run.log
        assert told(stage, "fw_error") == ["read() of its app fails"]


@pytest.mark.parametrize(
    ("kind", "more", "says"),
    [
        ("ESP32_GENERIC", {}, "no second app partition"),
        ("RPI_PICO_W", {}, "only software packages"),
        ("ESP32_GENERIC", {"ota": True}, "no image for this chip"),
    ],
)
def test_firmware_where_it_can_not_be(kind, more, says):
    with open_stage() as stage:
        image = provisioned(stage, kind=kind, **more)
        offer(stage, b"no image" * 100, "9", "fw")
        run = stage.board(image, kind=kind, **more).run(lambda _: told(stage, "fw_error"))
        assert run.ended == "found", run.log
        assert says in told(stage, "fw_error")[0]


def test_a_file_system_without_room():
    with open_stage() as stage:
        image = Image(stage.image().path)
        image.format(100)
        files = stage.image().ls()
        source = stage.image()
        image.put({path: source.get(path) for path in files})
        assert stage.board(image).run("telemetry: acknowledged").ended == "found"
        offer(stage, tar({"app.py": APP % 2, "data": bytes(150_000)}), "2")
        run = stage.board(image).run(lambda _: told(stage, "sw_error"))
        assert run.ended == "found", run.log
        assert re.match(r"it needs \d+ bytes of flash, \d+ are free", told(stage, "sw_error")[0])


def test_frozen():
    with Stage(frozen=True, files={"/app.py": APP % 1}, config=CONFIG) as stage:
        image = provisioned(stage)
        offer(stage, NEW, "2")
        run = stage.board(image).run(lambda _: told(stage, "app")[-1:] == [2] and "UPDATED" in told(stage, "sw_state"))
        assert run.ended == "found", run.log


def test_a_board_with_a_damaged_state_starts():
    with open_stage() as stage:
        image = provisioned(stage)
        image.put({"/update.json": json.dumps({"trial": 7, "slot": [], "sw": 1}).encode()})
        run = stage.board(image).run("telemetry: acknowledged")
        assert run.ended == "found" and run.boots == 1, run.log
