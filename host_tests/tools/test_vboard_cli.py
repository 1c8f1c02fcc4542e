"""`python -m tools.vboard`: a virtual board by hand."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from tools.cli import app
from tools.vboard import Image

ROOT = Path(__file__).resolve().parents[2]
pytestmark = pytest.mark.vm


def vboard(*arguments):
    return CliRunner().invoke(app, ["vboard", *map(str, arguments)])


def test_put_ls_and_run(tmp_path):
    image, folder = tmp_path / "flash", tmp_path / "lib"
    folder.mkdir()
    (folder / "part.py").write_text("def say():\n    print('said from lib')\n")
    (tmp_path / "main.py").write_text("import network, part\npart.say()\nprint(network.WLAN(0).config('mac'))\n")
    assert vboard("put", image, tmp_path / "main.py", folder).exit_code == 0
    assert vboard("put", image, tmp_path / "main.py", "--to", "/kept").exit_code == 0
    listed = vboard("ls", image)
    assert [line.split()[-1] for line in listed.stdout.splitlines()] == [
        "/kept/main.py",
        "/lib/part.py",
        "/main.py",
    ]
    sizes = json.loads(vboard("ls", image, "--json").stdout)
    assert sizes["/lib/part.py"] == (folder / "part.py").stat().st_size
    done = vboard("run", image)
    assert done.exit_code == 0
    assert "said from lib" in done.stdout
    document = json.loads(vboard("run", image, "--json", "--kind", "RPI_PICO_W", "--heap", "64").stdout)
    assert (document["ended"], document["boots"]) == ("idle", 1)
    assert document["log"][0]["line"] == "said from lib"
    vboard("put", image, "--format", folder)
    assert set(Image(image).ls()) == {"/lib/part.py"}


def test_run_waits_for_a_line_and_tells_by_its_exit_code(tmp_path):
    (tmp_path / "main.py").write_text("import time\nprint('up')\nwhile True:\n    time.sleep(1)\n")
    image = tmp_path / "flash"
    vboard("put", image, tmp_path / "main.py")
    assert vboard("run", image, "--until", "^up").exit_code == 0
    late = vboard("run", image, "--until", "never", "--timeout", "0.3")
    assert late.exit_code == 1
    assert "ended by timeout" in late.stderr
    asked_for = vboard("run", image, "--timeout", "0.3")
    assert (asked_for.exit_code, asked_for.stderr) == (0, "")
    (tmp_path / "main.py").write_text("1 / 0\n")
    vboard("put", image, tmp_path / "main.py")
    crash = vboard("run", image)
    assert crash.exit_code == 1
    assert "ZeroDivisionError" in crash.stdout


def test_the_firmware_finds_the_networks_of_the_command_line(tmp_path):
    config = {
        "wifi": {"ssid": "own", "password": "own-password"},
        "server": {"host": "127.0.0.1", "port": 9},
        "provision": {"key": "k", "secret": "s"},
    }
    (tmp_path / "config.json").write_text(json.dumps(config))
    image = tmp_path / "flash"
    assert vboard("put", image, "--firmware", tmp_path / "config.json").exit_code == 0
    assert "/lib/firstboot/boot.mpy" in json.loads(vboard("ls", image, "--json").stdout)
    done = vboard("run", image, "--wifi", "own:own-password", "--until", "wifi: joined", "--timeout", "20")
    assert done.exit_code == 0, done.stdout
    assert "own-password" not in done.stdout


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_powers_off(tmp_path, how):
    (tmp_path / "main.py").write_text("import time\nprint('up')\nwhile True:\n    time.sleep(1)\n")
    image = tmp_path / "flash"
    vboard("put", image, tmp_path / "main.py")
    command = [sys.executable, "-u", "-m", "tools.vboard", "run", image.name, "--console"]
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    with subprocess.Popen(
        command, cwd=tmp_path, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stderr is not None and process.stdout is not None
        assert process.stderr.readline().strip().endswith(f" {image}.tty")  # whole, for a program that runs elsewhere
        assert process.stdout.readline().strip() == "up"
        assert os.path.exists(f"{image}.tty")
        process.send_signal(how)
        assert process.wait(20) == 0
    assert not os.path.exists(f"{image}.tty")


def test_it_ends_when_nobody_reads_the_log(tmp_path):
    (tmp_path / "main.py").write_text("import time\nwhile True:\n    print('up')\n    time.sleep(0.02)\n")
    image = tmp_path / "flash"
    vboard("put", image, tmp_path / "main.py")
    command = [sys.executable, "-m", "tools.vboard", "run", str(image)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "up\n"
        process.stdout.close()
        assert process.wait(20) == 1


def test_bad_input_says_what_to_do(tmp_path):
    (tmp_path / "text").write_text("no flash")
    cases = [
        (("ls", tmp_path / "none"), "there is no"),
        (("run", tmp_path / "none"), "vboard put"),
        (("ls", tmp_path / "text"), "holds no littlefs"),
        (("run", tmp_path / "text"), "holds no littlefs"),
        (("put", tmp_path / "flash", tmp_path / "missing.py"), "missing.py"),
        (("put", tmp_path / "flash", tmp_path / "big"), "don't fit"),
        (("put", tmp_path / "flash", "--firmware", "--size", "16"), "--size"),
        (("put", tmp_path / "flash", tmp_path / "text", "--to", "x" * 300), "can't be put"),
    ]
    (tmp_path / "big").write_bytes(bytes(2 << 20))
    for arguments, text in cases:
        done = vboard(*arguments)
        assert done.exit_code == 1, arguments
        assert text in done.stderr, (arguments, done.stderr)
        assert isinstance(json.loads(vboard(*arguments, "--json").stdout)["error"]["message"], str)
    assert {path.name for path in tmp_path.iterdir()} == {"big", "text"}


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (("run", "flash", "--kind", "TOASTER"), "ESP32_GENERIC"),
        (("run", "flash", "--until", "("), "regular"),
        (("run", "flash", "--timeout", "nan"), "--timeout"),
        (("put", "flash", "--to", "../x"), "--to"),
    ],
)
def test_usage_errors_are_2(arguments, text):
    done = vboard(*arguments)
    assert done.exit_code == 2
    assert text in done.stderr
