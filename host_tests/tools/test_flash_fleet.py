"""A box of 32 boards flashed at once, of which some unplug, hang, answer garbage or keep other bytes than sent."""

import json
import sqlite3

import pytest
import serial
from boards_at_ports import box, document, firstboot

from tools.stage import SECRET, Stage
from tools.vboard import CableFault

pytestmark = [pytest.mark.vm, pytest.mark.timeout(300)]

KINDS = ("ESP32_GENERIC", "RPI_PICO_W", "ESP32_GENERIC_S3")
# The third, the ninth, ...: what is wrong with it, and where flashing it ends with which words.
BAD = {
    2: (CableFault("unplug", after=30000), "copy", "cable was pulled"),
    8: (CableFault("hang"), "connect", "does not answer"),
    11: (CableFault("hang", after=30000), "copy", "does not answer"),
    14: (CableFault("garbage"), "connect", "does not answer"),
    20: (CableFault("garbage", after=40000), "copy", "does not answer"),
    23: (CableFault("flip", word=b"identity"), "verify", "came out different"),
    26: ("busy", "connect", "busy"),
    29: ("small", "compare", "KiB are free"),
}
NOISY = 5  # one byte of what it gets is wrong, once


def name(number):
    return f"SN{number:04}"


def fill(crate):
    for number in range(32):
        fault = BAD.get(number, ("",))[0]
        board = crate.plug(name(number), KINDS[number % 3], blocks=16 if fault == "small" else 256)
        if isinstance(fault, CableFault):
            board.cable.fault = fault
        elif number == NOISY:
            board.cable.fault = CableFault("flip", word=b"identity", times=1)


def mend(crate):
    for number, (fault, _, _) in BAD.items():
        board = crate.boards[name(number)]
        board.cable.fault = None
        if fault == "small":
            board.stop()
            board.image.format()
            board.start()
        elif board.run_so_far.ended:  # it was unplugged
            board.start()


def test_32_boards_at_once(tmp_path, monkeypatch):
    ledger = tmp_path / "ledger.sqlite"
    with Stage(config={"period": 5}) as stage, box(tmp_path, monkeypatch) as crate:
        config = tmp_path / "config.json"
        config.write_text(json.dumps(stage.config))
        fill(crate)
        arguments = ("flash", "--all", "--config", config, "--ledger", ledger, "--patience", "12", "--follow", "120")
        busy = serial.Serial(crate.path(name(26)), exclusive=True)
        result, code = document(*arguments)
        busy.close()
        by_name = {board["board"]: board for board in result["boards"]}
        assert (code, len(by_name)) == (1, 32)
        for number in range(32):
            board = by_name[name(number)]
            if number in BAD:
                _, step, words = BAD[number]
                assert (board["result"], board["step"]) == ("failed", step), board["detail"]
                assert words in board["detail"]
                assert board["hint"]
            else:
                assert board["result"] == "provisioned", board["detail"]
        # Those that got through are devices on the server, each once, by the name that the ledger has.
        names = sorted(by_name[name(number)]["name"] for number in range(32) if number not in BAD)
        assert sorted(device.name for device in stage.standin.devices()) == names
        assert len(set(names)) == 24

        # The cables are mended, and the same command goes on where it was.
        mend(crate)
        again, code = document(*arguments, "--resume")
        results = {board["board"]: board["result"] for board in again["boards"]}
        assert code == 0, [board["detail"] for board in again["boards"] if board["detail"]]
        assert results == {name(n): "provisioned" if n in BAD else "already done" for n in range(32)}
        assert len(stage.standin.devices()) == 32
        # What was on a board already was not sent again.
        copied = {board["board"]: board["files_copied"] for board in again["boards"]}
        assert 0 < copied[name(11)] < by_name[name(0)]["files_copied"]

    entries, _ = document("ledger", "--ledger", ledger)
    assert len(entries) == 64
    assert sorted(entry["board"] for entry in entries if entry["result"] == "failed") == sorted(name(n) for n in BAD)
    text = "\n".join(sqlite3.connect(ledger).iterdump()) + json.dumps([result, again])
    assert SECRET not in text and "lab-password" not in text
    shown = firstboot("ledger", "--ledger", ledger)
    assert name(14) in shown.stdout and "provisioned" in shown.stdout
