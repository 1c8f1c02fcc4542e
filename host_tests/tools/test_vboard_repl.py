"""mpremote, unchanged, against a virtual board's console; and the console's own protocol, byte by byte."""

import contextlib
import hashlib
import os
import subprocess
import sys
import time

import pytest
import serial

from tools.stage import Stage
from tools.vboard import CableFault, Image, VirtualBoard

pytestmark = pytest.mark.vm
LOOP = b"import time\nprint('main runs')\nwhile True:\n    time.sleep(1)\n"


@contextlib.contextmanager
def powered(folder, files, kind="ESP32_GENERIC"):
    image = Image(folder / "flash").format()
    image.put(files)
    board = VirtualBoard(image, kind)
    board.serial()
    with board:
        yield board


def mpremote(board, *arguments):
    port = os.path.realpath(board.serial())
    command = [sys.executable, "-m", "mpremote", "connect", port, *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=60)


def opened(board):
    return serial.Serial(os.path.realpath(board.serial()), timeout=20)


def logged(board, text, times=1):
    return board.wait(lambda run: run.log.count(text) >= times, 30)


@pytest.mark.parametrize("kind", ["ESP32_GENERIC", "RPI_PICO_W"])
def test_mpremote_works_on_the_files(tmp_path, kind):
    content = os.urandom(1500) + bytes(range(256))
    (tmp_path / "local").write_bytes(content)
    with powered(tmp_path, {"/main.py": LOOP}, kind) as board:
        assert logged(board, "main runs")
        done = mpremote(
            board,
            *("fs", "mkdir", ":lib", "+", "fs", "cp", str(tmp_path / "local"), ":lib/data", "+"),
            *("fs", "sha256sum", ":lib/data", "+", "fs", "cp", ":lib/data", str(tmp_path / "back"), "+"),
            *("fs", "rm", ":main.py", "+", "fs", "ls", "+", "df"),
        )
        assert done.returncode == 0, done.stderr
        assert hashlib.sha256(content).hexdigest() in done.stdout
        assert "VfsLfs2" in done.stdout
        assert (tmp_path / "back").read_bytes() == content
    # On the flash, not only in the answers: littlefs on the host reads the same.
    assert board.image.ls() == {"/lib/data": len(content)}
    assert board.image.get("/lib/data") == content


def test_mpremote_tells_what_went_wrong_on_the_board(tmp_path):
    with powered(tmp_path, {}) as board:
        done = mpremote(board, "exec", "print(6 * 7)\nraise ValueError('no')")
        assert done.returncode == 1
        # As a port has it: the traceback begins with the code that was sent.
        assert done.stdout.splitlines() == [
            "42",
            "Traceback (most recent call last):",
            '  File "<stdin>", line 2, in <module>',
            "ValueError: no",
        ]
        assert "No such file" in mpremote(board, "fs", "cat", ":nothing").stderr


def test_uname_tells_the_micropython_that_runs(tmp_path):
    main = b"import os\nimport sys\nprint('release', os.uname()[2], '%d.%d.%d' % sys.implementation.version[:3])\n"
    with powered(tmp_path, {"/main.py": main}) as board:
        assert logged(board, "release ")
        [line] = [line for _, line in board.run_so_far.lines if line.startswith("release ")]
        assert line.split()[1] == line.split()[2]


def test_mpremote_runs_a_program_and_resets(tmp_path):
    (tmp_path / "program.py").write_text("import machine\nprint('cause', machine.reset_cause())\n")
    with powered(tmp_path, {"/main.py": LOOP, "/boot.py": b"print('boot runs')\n"}) as board:
        assert logged(board, "main runs")
        # mpremote resets softly before a program: boot.py runs again, main.py does not.
        assert "cause 5" in mpremote(board, "run", str(tmp_path / "program.py")).stdout
        assert (board.run_so_far.log.count("boot runs"), board.run_so_far.log.count("main runs")) == (2, 1)
        assert mpremote(board, "reset").returncode == 0
        assert logged(board, "main runs", 2)
        assert "cause 2" in mpremote(board, "resume", "run", str(tmp_path / "program.py")).stdout


def test_ctrl_c_gets_through_the_firmware(tmp_path):
    with Stage() as stage:
        board = stage.board(stage.image())
        board.serial()
        with board:
            assert logged(board, "telemetry: acknowledged")
            done = mpremote(board, "resume", "exec", "import sys; print('left', 'firstboot' in sys.modules)")
            assert "left True" in done.stdout, done.stderr
            assert "KeyboardInterrupt" in board.run_so_far.log
            assert "crashed" not in board.run_so_far.log
            assert mpremote(board, "soft-reset").returncode == 0
            port = opened(board)
            port.write(b"\x02\x04")
            assert logged(board, "telemetry: acknowledged", 2)
            port.close()


def test_the_port_of_a_native_usb_chip_goes_and_comes_at_a_reset(tmp_path):
    with powered(tmp_path, {"/main.py": LOOP}, "RPI_PICO_W") as board:
        assert logged(board, "main runs")
        port = opened(board)
        port.write(b"\x03import machine\rmachine.reset()\r")
        with pytest.raises((serial.SerialException, OSError)):
            while True:
                port.read(1)
        port.close()
        assert logged(board, "main runs", 2)
        assert "2" in mpremote(board, "exec", "print(1 + 1)").stdout


def test_a_soft_reset_does_not_stop_the_watchdog(tmp_path):
    main = b"import machine\nif machine.reset_cause() != machine.WDT_RESET: machine.WDT(timeout=300)\n"
    with powered(tmp_path, {"/main.py": main}) as board, opened(board) as port:
        assert board.wait(lambda run: bool(run.event("watchdog")))
        port.write(b"\x01\x04")
        assert logged(board, "soft reboot")
        assert board.wait(lambda run: run.boots == 3)
        # Only the watchdog brings a board in its raw REPL back to the friendly one.
        port.read_until(b">>> ")


def test_friendly_repl(tmp_path):
    with powered(tmp_path, {"/main.py": b"shared = 7\n"}) as board, opened(board) as port:
        port.write(b"1234+1\r")
        port.read_until(b"\r\n1235\r\n>>> ")
        port.write(b"\x02")
        assert b"Generic ESP32 module with ESP32\r\n" in port.read_until(b"information.\r\n>>> ")
        port.write(b"shared * 6x\x7f\r")
        assert port.read_until(b"\r\n>>> ").endswith(b"\r\n42\r\n>>> ")
        port.write(b"for i in range(2):\r    print('n', i)\r\r")
        assert port.read_until(b"n 1\r\n>>> ").endswith(b"n 0\r\nn 1\r\n>>> ")
        port.write(b"half a line\x03")
        assert port.read_until(b"\r\n>>> ") == b"half a line\r\n>>> "
        port.write(b"\x05a = 1\rprint('a is', a)\r\x04")
        assert port.read_until(b">>> ").endswith(b"a is 1\r\n>>> ")
        port.write(b"\x04")
        assert port.read_until(b"information.\r\n>>> ").startswith(b"\r\nMPY: soft reboot\r\n")


def test_raw_repl(tmp_path):
    with powered(tmp_path, {}) as board, opened(board) as port:
        port.write(b"\r\x01")
        assert port.read_until(b"exit\r\n>").endswith(b"raw REPL; CTRL-B to exit\r\n>")
        port.write(b"x = 5\nprint(x)\x04")
        assert port.read_until(b"\x04>") == b"OK5\r\n\x04\x04>"
        port.write(b"forgotten\x03print(x)\x04")
        assert port.read_until(b"\x04>") == b"OK5\r\n\x04\x04>"
        port.write(b"print('on')\nwhile True: pass\x04")
        assert port.read_until(b"on\r\n") == b"OKon\r\n"
        port.write(b"\x03")
        assert port.read_until(b"\x04>").endswith(b"KeyboardInterrupt: \r\n\x04>")
        port.write(b"def\x04")
        assert b"SyntaxError" in port.read_until(b"\x04>")
        port.write(b"\x05B\x01")
        assert port.read(3) == b"R\x00>"
        port.write(b"import machine; machine.soft_reset()\x04")
        assert port.read_until(b"exit\r\n>") == b"OK\x04\x04MPY: soft reboot\r\nraw REPL; CTRL-B to exit\r\n>"
        port.write(b"\x04")
        assert port.read_until(b"exit\r\n>") == b"OK\r\nMPY: soft reboot\r\nraw REPL; CTRL-B to exit\r\n>"
        port.write(b"print('x' in dir())\x04")
        assert port.read_until(b"\x04>") == b"OKFalse\r\n\x04\x04>"


def test_raw_paste(tmp_path):
    with powered(tmp_path, {}) as board, opened(board) as port:
        port.write(b"\x01")
        port.read_until(b"exit\r\n>")
        port.write(b"\x05A\x01")
        assert port.read(5) == b"R\x01\x80\x00\x01"  # the window is 128 bytes, and the first may come
        port.write(b"#" * 127 + b"\n")
        assert port.read(1) == b"\x01"
        port.write(b"print('pasted')\x04")
        assert port.read_until(b"\x04>") == b"\x04pasted\r\n\x04\x04>"
        port.write(b"\x05A\x01print('never')\x03")
        assert port.read_until(b"\x04>").endswith(
            b"\x04\x04Traceback (most recent call last):\r\n"
            b'  File "<stdin>", line 1, in <module>\r\n'
            b"KeyboardInterrupt: \r\n\x04>"
        )


@pytest.mark.parametrize("what", ["unplug", "hang", "garbage"])
def test_what_goes_wrong_with_a_cable(tmp_path, what):
    with powered(tmp_path, {}) as board, opened(board) as port:
        port.write(b"\x01")
        port.read_until(b"exit\r\n>")
        assert board.cable is not None
        board.cable.fault = CableFault(what, after=10)
        port.timeout = 1
        port.write(b"print(123456)\x04")
        if what == "unplug":
            with pytest.raises((serial.SerialException, OSError)):
                while True:
                    port.read(1)
            assert board.wait(lambda run: run.ended == "killed")
            assert not os.path.exists(board.serial())
        else:
            said = port.read(30)
            assert b"123456" not in said
            assert bool(said) == (what == "garbage")


def test_a_board_says_nothing_to_nobody(tmp_path):
    with powered(tmp_path, {"/main.py": b"for i in range(20000): print('counted', i)\n" + LOOP}) as board:
        # More than any buffer holds, and no program has the port open: the board is not held up.
        assert logged(board, "main runs")
        with opened(board) as port:
            port.write(b"\x03")
            assert b"counted 5" not in port.read_until(b">>> ")


def test_a_board_without_a_cable_ends_where_main_does(tmp_path):
    board = VirtualBoard(Image(tmp_path / "flash").format())
    assert board.run(timeout=20).ended == "idle"


def test_soft_reset_without_a_console(tmp_path):
    image = Image(tmp_path / "flash").format()
    image.put({"/main.py": b"import machine\nprint('cause', machine.reset_cause())\nmachine.soft_reset()\n"})
    for kind, cause in (("ESP32_GENERIC", 5), ("RPI_PICO_W", 1)):
        began = time.monotonic()
        run = VirtualBoard(image, kind).run(lambda r: r.boots > 2 and r.log.count("cause") > 1)
        assert run.ended == "found", time.monotonic() - began
        assert run.lines[1][1] == f"cause {cause}"
