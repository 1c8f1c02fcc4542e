"""`firstboot flash`, a board or two at a time: what is copied, what is refused, and what the user is told."""

import json
import os
import signal
import struct
import sys
import time
from types import SimpleNamespace

import pytest
import serial
from boards_at_ports import box, document, firstboot

from tools.flash import Ledger, chip
from tools.flash.ledger import Entry
from tools.flash.mask import Mask
from tools.flash.talk import Talk, _cannot_open, _why
from tools.stage import KEY, SECRET, Stage
from tools.vboard import WifiPlan

pytestmark = pytest.mark.vm


@pytest.fixture
def bench(tmp_path, monkeypatch):
    """A server, a config for it, and a box of boards."""
    with Stage(config={"period": 5}) as stage, box(tmp_path, monkeypatch) as crate:
        config = tmp_path / "config.json"
        config.write_text(json.dumps(stage.config))
        more = ("--config", config, "--ledger", tmp_path / "ledger")
        yield SimpleNamespace(stage=stage, crate=crate, config=config, folder=tmp_path, more=more)


def flash(bench, *arguments):
    """The outcome of the one board."""
    result, code = document("flash", *arguments, *bench.more)
    (board,) = result["boards"]
    assert code == (board["result"] == "failed")
    return board


def test_only_what_differs_is_copied(bench):
    board = bench.crate.plug("A1", files={"/lib/firstboot/boot.py": b"raise SystemExit", "/lib/mine.py": b"kept"})
    first = flash(bench)
    assert (first["result"], first["board"]) == ("provisioned", "A1"), first
    assert first["name"] == f"ESP32-{board.mac}"
    # A source of an older firstboot would win over the compiled file; what is not firstboot's stays.
    assert not board.image.exists("/lib/firstboot/boot.py")
    assert board.image.exists("/lib/mine.py")
    assert board.image.get("/config.json") == bench.config.read_bytes()
    assert flash(bench)["files_copied"] == 0
    app = bench.folder / "own_app.py"
    app.write_text("def read():\n    return {'own': 1}\n")
    again = flash(bench, "--app", app, "--file", f"{app}:/lib/more/own.py")
    assert (again["result"], again["files_copied"]) == ("provisioned", 2)
    assert board.image.get("/lib/more/own.py") == app.read_bytes()
    assert len(bench.stage.standin.devices()) == 1
    # The example never replaces an app; the one beside the config is meant without saying so.
    assert flash(bench)["files_copied"] == 0
    (bench.folder / "app.py").write_text("def read():\n    return {'beside': 2}\n")
    assert flash(bench)["files_copied"] == 1
    assert board.image.get("/app.py") == (bench.folder / "app.py").read_bytes()


@pytest.mark.parametrize(
    ("app", "words"),
    [
        ("import a_module_that_is_not_there\n", "app: can't be imported"),
        ("def read():\n    return 1 / 0\n", "app: read() failed, number 1"),
    ],
)
def test_an_app_that_does_not_work_is_no_success(bench, app, words):
    bench.crate.plug("A1")
    (bench.folder / "app.py").write_text(app)
    board = flash(bench)
    assert (board["result"], board["step"]) == ("failed", "follow")
    assert words in board["detail"] and "mend app.py" in board["hint"]


def test_an_app_from_an_update_goes_with_a_new_one_only(bench):
    update = {"/update.json": b'{"slot": 1}', "/update.part": b"x", "/update.1/lib/a.py": b"", "/update.1/app.py": b""}
    board = bench.crate.plug("A1", files={**update, "/app.py": b"def read():\n    return {}\n"})
    flash(bench)
    assert all(board.image.exists(path) for path in update)
    (bench.folder / "app.py").write_text("def read():\n    return {'own': 1}\n")
    flash(bench)
    assert not any(board.image.exists(path) for path in update)


def test_a_person_sees_what_happened_and_no_secret(bench):
    bench.crate.plug("A1")
    bench.crate.plug("A2", wifi=WifiPlan({}))
    done = firstboot("flash", "--all", "--follow", "6", *bench.more)
    assert done.exit_code == 1
    assert "1 of 2 boards done" in done.stdout
    text = " ".join(done.stdout.split())
    assert "did not reach the server within 6 s; it last said:" in text
    assert "firstboot monitor" in text
    for secret in (SECRET, KEY, "lab-password"):
        assert secret not in done.output


def test_sources_and_a_watchdog_that_was_started(bench):
    bench.config.write_text(json.dumps({**bench.stage.config, "watchdog": 2}))
    board = bench.crate.plug("A1", "RPI_PICO_W")
    assert flash(bench)["result"] == "provisioned"
    # The firmware's watchdog can't be stopped; who copies 40 files feeds it.
    with Talk(board.serial()).open() as talk:
        talk.interrupt()
        assert talk.facts().watched
    again = flash(bench, "--source")
    assert (again["result"], again["files_copied"] > 20) == ("provisioned", True)
    assert board.image.exists("/lib/firstboot/boot.py") and not board.image.exists("/lib/firstboot/boot.mpy")


def test_a_config_that_the_board_refuses(bench):
    bench.crate.plug("A1")
    bench.config.write_text(json.dumps({**bench.stage.config, "period": -1}))
    refused, code = document("flash", *bench.more)
    assert code == 1 and refused["error"]["field"] == "period"  # before any board is touched


def test_a_board_that_does_not_get_through_is_tried_again(bench):
    """Interrupted in the middle, the next run goes on where it was."""
    from tools.vboard import CableFault

    board = bench.crate.plug("A1")
    board.cable.fault = CableFault("unplug", after=50000)
    assert flash(bench)["detail"] == "the board is gone: its cable was pulled"
    board.start()
    again = flash(bench)
    assert again["result"] == "provisioned" and 0 < again["files_copied"] < len(board.image.ls()) - 5


def test_busy_missing_and_two_alike(bench):
    board = bench.crate.plug("A1")
    with serial.Serial(board.serial(), exclusive=True):
        busy = flash(bench)
    assert "is busy" in busy["detail"] and "close the other program" in busy["hint"]
    cases = [
        (("--port", bench.folder / "none"), "there is no port", "plugged in"),
        (("--serial", "Z9"), "no board has the USB serial number Z9", "attached: A1"),
    ]
    twin = bench.crate.plug("twin")
    bench.crate.ports[-1].serial_number = "A1"
    cases += [
        (("--serial", "A1"), f"2 boards have the USB serial number A1: {board.serial()}, {twin.serial()}", "--port"),
        ((), "2 boards are attached: A1.tty, twin.tty", "--all"),
    ]
    for arguments, message, hint in cases:
        result, code = document("flash", *arguments, *bench.more)
        assert code == 1
        assert message in result["error"]["message"], result
        assert hint in result["error"]["hint"]
    bench.crate.ports.clear()
    assert "no board is attached" in document("flash", *bench.more)[0]["error"]["message"]


def test_a_ledger_that_is_none(bench):
    bench.crate.plug("A1")
    (bench.folder / "ledger").write_text("something else " * 100)
    for command in (("flash", *bench.more), ("ledger", "--ledger", bench.folder / "ledger")):
        result, code = document(*command)
        assert code == 1 and "can't be used" in result["error"]["message"] and "--ledger" in result["error"]["hint"]
    (bench.folder / "ledger").write_text("")
    result, code = document("ledger", "--ledger", bench.folder / "ledger")
    assert code == 1 and "can't be used" in result["error"]["message"]
    assert (bench.folder / "ledger").read_bytes() == b""
    assert "firstboot flash" in document("ledger", "--ledger", bench.folder / "none")[0]["error"]["hint"]


def test_a_narrow_terminal_loses_nothing_of_the_ledger(tmp_path, monkeypatch):
    monkeypatch.setenv("COLUMNS", "40")
    ledger = Ledger(tmp_path / "ledger")
    ledger.start(Entry("e6614864d3417f36", "/dev/ttyACM0", name="RP2040-28cd2eea84b0", result="already done"))
    ledger.close()
    shown = firstboot("ledger", "--ledger", tmp_path / "ledger").stdout
    assert "  e6614864d3417f36  RP2040-28cd2eea84b0  already done" in shown


def test_ports_that_cannot_be_opened(tmp_path):
    (tmp_path / "app.py").touch()
    assert "is no serial port" in str(_cannot_open(str(tmp_path / "app.py")))
    for number, words, hint in (
        (13, "no permission", "dialout"),
        (16, "is busy", "close"),
        (2, "cable was pulled", "plug it in"),
        (5, "can't be opened", "plug it out"),
    ):
        failed = _why("/dev/ttyUSB0", OSError(number, os.strerror(number)))
        assert words in str(failed) and hint in failed.hint


def test_a_config_whose_files_are_not_there(bench):
    bench.crate.plug("A1")
    for more, words, hint in (
        ({"tls": {"enabled": True}}, "there is no ca.der", "firstboot ca"),
        ({"tls": {"enabled": True, "verify": False}, "credentials": "chain"}, "there is no cert.der", "--own"),
    ):
        bench.config.write_text(json.dumps({**bench.stage.config, **more}))
        result, code = document("flash", *bench.more)
        assert code == 1 and words in result["error"]["message"] and hint in result["error"]["hint"], result


def test_coap_needs_a_library(bench):
    bench.config.write_text(json.dumps({**bench.stage.config, "transport": "coap"}))
    board = bench.crate.plug("A1")
    refused = flash(bench, "--follow", "0")
    assert "no microcoapy" in refused["detail"] and "mpremote mip install" in refused["hint"]
    library = bench.folder / "microcoapy"
    library.mkdir()
    (library / "__init__.py").write_text("class Coap:\n    pass\n")
    done = flash(bench, "--follow", "0", "--file", f"{library}:/lib/microcoapy")
    assert done["result"] == "flashed" and board.image.exists("/lib/microcoapy/__init__.py")


def test_files_of_each_board_s_own(bench):
    boards = [bench.crate.plug(name) for name in ("A1", "A2")]
    own = bench.folder / "boards"
    for board in boards[:1]:
        (own / f"ESP32-{board.mac}").mkdir(parents=True)
        (own / f"ESP32-{board.mac}" / "cert.der").write_text(f"of {board.mac}")
    result, code = document("flash", "--all", "--own", own, *bench.more)
    by_name = {board["board"]: board for board in result["boards"]}
    assert by_name["A1"]["result"] == "provisioned"
    assert boards[0].image.get("/cert.der").decode() == f"of {boards[0].mac}"
    assert (by_name["A2"]["result"], by_name["A2"]["step"]) == ("failed", "own files")
    assert f"ESP32-{boards[1].mac}" in by_name["A2"]["detail"] and "firstboot keys issue" in by_name["A2"]["hint"]
    # A new certificate is no reason to copy anything else, and reason enough not to be done.
    (own / f"ESP32-{boards[0].mac}" / "cert.der").write_text("a new one")
    again = flash(bench, "--serial", "A1", "--own", own, "--resume")
    assert (again["result"], again["files_copied"]) == ("provisioned", 1)
    assert boards[0].image.get("/cert.der") == b"a new one"
    assert flash(bench, "--serial", "A1", "--own", own, "--resume")["result"] == "already done"


def test_ctrl_c_leaves_the_ledger_telling(bench):
    from tools.flash import Ledger, Plan, attached, fleet

    bench.crate.plug("A1")

    class Impatient(fleet.Show):
        def progress(self, port, percent, step):
            if step == "copy":
                os.kill(os.getpid(), signal.SIGINT)  # Python raises KeyboardInterrupt in its main thread

    ledger = Ledger(bench.folder / "ledger")
    plan = Plan({f"/{n}.txt": os.urandom(2000) for n in range(50)})
    (outcome,) = fleet.flash(attached(), plan, ledger, show=Impatient())
    assert (outcome.result, outcome.step) == ("interrupted", "copy")
    assert [entry["result"] for entry in ledger.entries()] == ["interrupted"]


# MicroPython itself


def uf2(family, size=4096, blocks_first=()):
    """A UF2 file, a block of 512 bytes at a time."""
    blocks = [*blocks_first]
    count = size // 256
    for n in range(count):
        head = struct.pack("<8I", 0x0A324655, 0x9E5D5157, 0x2000, 0x10000000 + n * 256, 256, n, count, family)
        blocks.append(head + os.urandom(256).ljust(476, b"\0") + struct.pack("<I", 0x0AB16F30))
    return b"".join(blocks)


def esp(chip_id, size=4096):
    """A file that begins as MicroPython's for ESP32 do."""
    return struct.pack("<BBBBI", 0xE9, 3, 2, 0x2F, 0x40000000) + struct.pack("<IH", 0xEE, chip_id) + bytes(size - 14)


ESPTOOL = """
import pathlib, sys
arguments = sys.argv[1:]
pathlib.Path(r"{told}").write_text("\\n".join(arguments))
if {fails!r}:
    print("A fatal error occurred: " + {fails!r})
    sys.exit(2)
for percent in (0, 50, 100):
    print(f"Writing at 0x00001000... ({{percent}} %)", end="\\r")
print("Hash of data verified.")
"""


def esptool(bench, monkeypatch, fails=""):
    """A program that stands for esptool: a virtual board has no ROM loader. Returns where it tells its arguments."""
    told, program = bench.folder / "told", bench.folder / "esptool.py"
    program.write_text(ESPTOOL.format(told=told, fails=fails))
    monkeypatch.setattr(chip, "ESPTOOL", (sys.executable, str(program)))
    return told


def test_esptool_writes_micropython(bench, monkeypatch):
    told = esptool(bench, monkeypatch)
    image = bench.folder / "micropython.bin"
    image.write_bytes(esp(0))
    board = bench.crate.plug("A1")
    assert flash(bench, "--micropython", image, "--erase")["result"] == "provisioned"
    port = os.path.realpath(board.serial())
    wanted = ["--port", port, "--chip", "esp32", "--baud", "460800", "write-flash", "--erase-all", "0x1000", str(image)]
    assert told.read_text().splitlines() == wanted


@pytest.mark.parametrize(
    ("said", "words", "hint"),
    [
        ("This chip is ESP32-S3, not ESP32. Wrong chip argument?", "wrong chip for the image", "for its chip"),
        ("Failed to connect to ESP32: No serial data received.", "No serial data", "BOOT button"),
        ("Could not open /dev/ttyUSB0, the port is busy or doesn't exist.", "can't open the port", "doctor"),
    ],
)
def test_what_esptool_says_is_told(bench, monkeypatch, said, words, hint):
    esptool(bench, monkeypatch, fails=said)
    image = bench.folder / "micropython.bin"
    image.write_bytes(esp(0))
    bench.crate.plug("A1")
    board = flash(bench, "--micropython", image)
    assert (board["result"], board["step"]) == ("failed", "micropython")
    assert words in board["detail"] and hint in board["hint"]


def test_the_real_esptool_finds_no_rom_loader(bench):
    image = bench.folder / "micropython.bin"
    image.write_bytes(esp(0))
    bench.crate.plug("A1")
    board = flash(bench, "--micropython", image)
    assert "esptool: Failed to connect to ESP32" in board["detail"]


@pytest.mark.parametrize(("kind", "family"), [("RPI_PICO_W", 0xE48BFF56), ("RPI_PICO2_W", 0xE48BFF59)])
def test_a_uf2_file_goes_through_the_boot_rom(bench, monkeypatch, kind, family):
    monkeypatch.setattr(chip, "_MEDIA", (str(bench.folder),))
    image = bench.folder / "micropython.uf2"
    image.write_bytes(uf2(family, 65536))
    board = bench.crate.plug("A1", kind)
    done = flash(bench, "--micropython", image)
    assert done["result"] == "provisioned", done["detail"]
    assert (bench.folder / "A1.uf2").read_bytes() == image.read_bytes()
    assert not board.drive.exists()


def test_new_boards_that_are_drives_and_no_ports_yet(bench, monkeypatch):
    monkeypatch.setattr(chip, "_MEDIA", (str(bench.folder),))
    image = bench.folder / "micropython.uf2"
    image.write_bytes(uf2(0xE48BFF56, 65536))
    boards = [bench.crate.plug(name, "RPI_PICO_W", blank=True) for name in ("N1", "N2", "N3")]
    while not all((board.drive / "INFO_UF2.TXT").exists() for board in boards):
        time.sleep(0.02)
    assert "no board is attached" in document("flash", *bench.more)[0]["error"]["message"]
    assert "--micropython" in document("flash", "--drive", boards[0].drive, *bench.more)[0]["error"]["hint"]
    one = flash(bench, "--micropython", image, "--drive", boards[1].drive)
    assert (one["board"], one["result"]) == ("N2", "provisioned"), one
    result, code = document("flash", "--micropython", image, "--all", *bench.more)
    assert code == 0, result
    # By now they have serial numbers, and so the ledger knows them by those.
    assert {board["board"]: board["result"] for board in result["boards"]} == dict.fromkeys(
        ("N1", "N2", "N3"), "provisioned"
    )
    entries, _ = document("ledger", "--ledger", bench.folder / "ledger")
    assert sorted(entry["board"] for entry in entries) == ["N1", "N2", "N2", "N3"]


def test_frozen_says_so_when_it_is_not(bench):
    board = bench.crate.plug("A1")
    refused = flash(bench, "--frozen")
    assert "firstboot is not frozen" in refused["detail"] and "--frozen" in refused["hint"]
    board.stop()
    board.image.put({"/lib/firstboot/board.py": b"def name(template):\n    return template\n"})
    board.start()
    done = flash(bench, "--frozen", "--follow", "0")
    assert (done["result"], done["name"], done["files_copied"]) == ("flashed", "{board}-{mac}", 0)


def test_a_uf2_file_onto_a_drive_that_the_user_names(bench):
    drive = bench.folder / "RPI-RP2"
    drive.mkdir()
    (drive / "INFO_UF2.TXT").write_text("UF2 Bootloader v3.0\nModel: Raspberry Pi RP2\nBoard-ID: RPI-RP2\n")
    image = bench.folder / "micropython.uf2"
    image.write_bytes(uf2(0xE48BFF59))
    wanted = chip.Image.of(image)
    began = time.monotonic()
    with pytest.raises(chip.BoardFailed, match="is for RP2350, and .* is RPI-RP2"):
        chip.copy_uf2(drive, wanted, lambda at: None)
    with pytest.raises(chip.BoardFailed, match="no board's UF2 drive"):
        chip.copy_uf2(bench.folder, wanted, lambda at: None)
    image.write_bytes(uf2(0xE48BFF56))
    with pytest.raises(chip.BoardFailed, match="did not take"):
        chip.copy_uf2(drive, chip.Image.of(image), lambda at: None, seconds=0.2)
    assert (drive / "NEW.UF2").read_bytes() == image.read_bytes()
    assert time.monotonic() - began < 30


def test_images_that_no_board_can_take(bench):
    absolute = struct.pack("<8I", 0x0A324655, 0x9E5D5157, 0x2000, 0x10FFFF00, 256, 0, 2, 0xE48BFF57)
    cases = [
        (b"neither", "no MicroPython image", ".uf2"),
        (esp(0, 0x200000), "before the file system of ESP32_GENERIC", "less frozen in"),
        (uf2(0xE48BFF56, 0x130000), "before the file system of RPI_PICO_W", "less frozen in"),
        (uf2(0xE48BFF56)[:-1], "no MicroPython image", ""),
        (esp(16), "firstboot knows no board of", "ESP32_GENERIC"),
    ]
    image = bench.folder / "image"
    bench.crate.plug("A1", "RPI_PICO_W")
    for data, words, hint in cases:
        image.write_bytes(data)
        result, code = document("flash", "--micropython", image, *bench.more)
        assert code == 1 and words in result["error"]["message"], result
        assert hint in result["error"]["hint"]
    # The block that RP2350 images open with for an erratum is of another family, and no part of the program.
    image.write_bytes(uf2(0xE48BFF59, blocks_first=[(absolute + bytes(476) + struct.pack("<I", 0x0AB16F30))]))
    assert chip.Image.of(image).mcu == "rp2350"
    image.write_bytes(esp(0))
    wrong = flash(bench, "--micropython", image)
    assert "is for ESP32, and this is RPI_PICO2_W or RPI_PICO_W" in wrong["detail"]


def test_mask():
    mask = Mask({"wifi": {"password": "quite'secret"}, "provision": {"secret": "abc", "key": "abcdef"}})
    for line, shown in (
        ("joins with quite'secret", "joins with ***"),
        ("abcdef and abc", "*** and ***"),
        ("token 0123456789abcdef0123456789abcdef", "token ***"),
        ("provision: asking for ESP32S3-a0b1c2d3e4f5", "provision: asking for ESP32S3-a0b1c2d3e4f5"),
        ("MIIBszCCAVmgAwIBAgIUJ9yT3Q==", "***"),
        ("  File /lib/firstboot/x509/certificates.mpy, line 12", None),
        ("   0.133 telemetry: acknowledged; heap in use 37616 bytes", None),
    ):
        assert mask(line) == (shown or line)
