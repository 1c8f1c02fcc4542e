"""`firstboot monitor` and `firstboot doctor` on virtual boards."""

import json
import os
import threading
import time

import pytest
from boards_at_ports import box, document, firstboot

from tools import doctor
from tools.monitor import _Json, coloured
from tools.stage import KEY, SECRET, Stage
from tools.vboard import CableFault

pytestmark = pytest.mark.vm

TALKS = b"""
import time
n = 0
while True:
    print("   0.001 wifi: round", n)
    n += 1
    time.sleep(0.05)
"""
TELLS = b"""
import time
while True:
    print("   0.001 app: token 0123456789abcdef0123456789abcdef password own-secret-word")
    time.sleep(0.05)
"""


@pytest.fixture
def crate(tmp_path, monkeypatch):
    """A box of boards, in a folder without a config."""
    monkeypatch.chdir(tmp_path)
    with box(tmp_path, monkeypatch) as found:
        yield found


def as_lines(done):
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_monitor_shows_the_log_and_no_secret(crate, tmp_path):
    crate.plug("A1", files={"/main.py": TELLS})
    config = tmp_path / "pilot.json"
    config.write_text(json.dumps({"wifi": {"password": "own-secret-word"}}))
    done = firstboot("monitor", "--config", config, "--until", "token", "--seconds", "30")
    assert done.exit_code == 0
    assert "app: token *** password ***" in done.stdout
    assert "0123456789" not in done.output and "own-secret-word" not in done.output


def test_monitor_waits_for_a_board_that_is_plugged_out(crate, monkeypatch):
    is_missed = threading.Event()
    shown = _Json.line

    def line(self, name, text, is_note):
        shown(self, name, text, is_note)
        if name == "A1" and is_note:
            is_missed.set()

    monkeypatch.setattr(_Json, "line", line)
    board = crate.plug("A1", "RPI_PICO_W", files={"/main.py": TALKS})
    crate.plug("A2", files={"/main.py": TALKS.replace(b"round", b"other")})

    def replug():
        while not board.cable.is_open:
            time.sleep(0.02)
        board.wait(lambda run: run.log.count("round") > seen + 20)
        board.stop()
        is_missed.wait(30)
        board.image.put({"/main.py": TALKS.replace(b"round", b"second round")})
        board.start()

    seen = board.run_so_far.log.count("round")
    thread = threading.Thread(target=replug)
    thread.start()
    done = firstboot("monitor", "--all", "--until", "second round|other", "--seconds", "60", "--json")
    thread.join()
    assert done.exit_code == 0, done.output
    seen = as_lines(done)
    lines = [line.get("line") or line.get("note") for line in seen if line["board"] == "A1"]
    assert any("wifi: round" in line for line in lines) and "second round" in lines[-1]
    assert any("waiting for it" in line for line in lines) and "connected again" in lines
    assert {line["board"] for line in seen} == {"A1", "A2"}


def test_monitor_tells_by_its_exit_code_that_a_line_did_not_come(crate):
    crate.plug("A1", files={"/main.py": TALKS})
    done = firstboot("monitor", "--until", "never", "--seconds", "1")
    assert done.exit_code == 1
    assert "not seen within 1 s from A1: never" in done.stderr
    misused = firstboot("monitor", "--until", "(")
    assert misused.exit_code == 2 and "regular" in misused.stderr


def test_monitor_restarts_a_board_that_is_silent(crate):
    board = crate.plug("A1", files={"/main.py": b"print('   0.001 firstboot on ESP32')"})
    assert board.wait(lambda run: bool(run.event("idle")))
    done = firstboot("monitor", "--restart", "--until", "firstboot on", "--seconds", "30")
    assert done.exit_code == 0, done.output


def test_colours():
    assert coloured("   0.133 telemetry: acknowledged; heap") == [
        ("   0.133 ", "dim"),
        ("telemetry:", "bold green"),
        (" acknowledged; heap", "green"),
    ]
    assert coloured("   0.133 wifi: joining lab")[1:] == [("wifi:", "bold cyan"), (" joining lab", "")]
    assert coloured("provision: no answer: -2")[2][1] == "red"


def test_doctor_finds_a_healthy_board_and_leaves_it_running(crate):
    with Stage(config={"period": 1}) as stage:
        image = stage.image()
        files = {path: image.get(path) for path in image.ls()}
        board = crate.plug("A1", files=files)
        assert board.wait("telemetry: acknowledged")
        found, code = document("doctor")
        assert code == 0, found
        (one,) = found["boards"]
        assert one["port"]["name"] == "A1" and one["machine"].endswith("ESP32")
        assert one["micropython"].startswith("1.") and one["firstboot"]
        assert [finding["state"] for finding in one["findings"]] == ["ok"]
        assert board.wait(lambda run: run.log.count("telemetry: acknowledged") == 2)
        shown = firstboot("doctor", "--leave-boards")
        assert shown.exit_code == 0 and "the port opens" in shown.stdout
        assert board.run_so_far.boots < 4


def test_doctor_tells_what_ails_boards(crate):
    secret = {"wifi": {"ssid": "lab", "password": "lab-password"}, "provision": {"key": KEY, "secret": SECRET}}
    good = {**secret, "server": {"host": "h"}}
    library = {"/lib/firstboot.py": b"__version__ = '0'", "/main.py": b""}
    crate.plug("empty")
    crate.plug("broken", files={**library, "/config.json": b"{"})
    crate.plug("marked", files={**library, "/config.json": json.dumps(good).encode("utf-8-sig")})
    crate.plug("wrong", files={**library, "/config.json": json.dumps({**secret, "period": "often"}).encode()})
    tls = json.dumps({**good, "tls": {"enabled": True}}).encode()
    crate.plug("no-ca", files={**library, "/config.json": tls})
    crate.plug("silent").cable.fault = CableFault("hang")
    gone = crate.plug("gone")
    gone.stop()
    found, code = document("doctor", "--patience", "4")
    assert code == 1
    ails = {
        board["port"]["name"]: " / ".join(one["what"] for one in board["findings"] if one["state"] != "ok")
        for board in found["boards"]
    }
    assert ails["empty"] == "firstboot is not on the board yet"
    assert ails["broken"] == ails["marked"] == "config.json is not JSON"
    assert "server.host" in ails["wrong"] and "period" in ails["wrong"]
    assert ails["no-ca"] == "/ca.der is not on the board, and tls.ca names it"
    assert "does not answer" in ails["silent"]
    assert "cable was pulled" in ails["gone"]
    crate.ports = [port for port in crate.ports if port.serial_number != "silent"]
    shown = firstboot("doctor")
    assert shown.exit_code == 1
    for text in (json.dumps(found), shown.output):
        assert "lab-password" not in text and SECRET not in text


def test_doctor_sees_boards_that_wait_for_micropython(crate, monkeypatch):
    monkeypatch.setattr("tools.flash.chip._MEDIA", (str(crate.folder),))
    board = crate.plug("N1", "RPI_PICO_W", blank=True)
    while not (board.drive / "INFO_UF2.TXT").exists():
        time.sleep(0.02)
    shown = firstboot("doctor")
    assert shown.exit_code == 0
    assert "waits for MicroPython" in shown.stdout and "N1.drive" in shown.stdout


def test_doctor_looks_at_this_computer(crate, monkeypatch):
    def version(package):
        if package == "esptool":
            raise doctor.PackageNotFoundError(package)
        return "1.0"

    monkeypatch.setattr(doctor, "version", version)
    found, code = document("doctor")
    assert code == 1
    missing = [one for one in found["computer"] if one["state"] == "problem"]
    assert [one["what"] for one in missing] == ["esptool is missing: it writes MicroPython to ESP32"]
    assert missing[0]["hint"].startswith("pip install -e ")  # of this clone: the name is nobody's at a registry
    assert "none is attached" in firstboot("doctor").stdout


def test_doctor_warns_of_ports_that_a_user_may_not_open(monkeypatch):
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    monkeypatch.setattr(os, "getgroups", list)
    monkeypatch.setattr(doctor, "_has_group", lambda name: name == "dialout")
    (warning,) = (one for one in doctor._permissions() if "group" in one.what)
    assert warning.hint.startswith("sudo usermod -aG dialout")
    monkeypatch.setattr(os, "getgroups", lambda: [0])
    monkeypatch.setattr(doctor, "_has_group", lambda name: name == "root")
    monkeypatch.setattr(doctor, "_GROUPS", ("root",))
    assert not [one for one in doctor._permissions() if "group" in one.what]
