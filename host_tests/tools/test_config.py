"""`firstboot config`: the firmware's own rules, in words; secrets are kept."""

import copy
import json
import os
import pty
import re
import stat
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from tools import cli, config

ROOT = Path(__file__).resolve().parents[2]
SECRETS = {"wifi.password": "wifi-hunter2", "provision.key": "key-hunter2", "provision.secret": "secret-hunter2"}
GOOD = {
    "wifi": {"ssid": "lab", "password": "wifi-hunter2"},
    "server": {"host": "tb.example.org"},
    "tls": {"enabled": True},
    "provision": {"key": "key-hunter2", "secret": "secret-hunter2"},
}


@pytest.fixture
def run(tmp_path, monkeypatch):
    """`firstboot config ARGS` in an empty folder."""
    monkeypatch.chdir(tmp_path)

    def run(*args, **more):
        return CliRunner().invoke(cli.app, ["config", *args], **more)

    return run


def lay(document, path="config.json"):
    """A config file with GOOD changed by `document`."""
    merged = json.loads(json.dumps(GOOD))
    for name, value in document.items():
        merged[name] = {**merged.get(name, {}), **value} if isinstance(value, dict) else value
    Path(path).write_text(json.dumps(merged))


def test_the_firmwares_rules_leave_nothing_behind():
    code = "import sys; import tools.config; print([m for m in sys.modules if 'micropython' in m or m == 'firstboot'])"
    said = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert said.stdout == "[]\n"


def test_write_and_check(run):
    flags = ["--wifi-ssid", "lab", "--wifi-password", "wifi-hunter2", "--server-host", "tb.example.org"]
    keys = {"FIRSTBOOT_PROVISION_KEY": "key-hunter2", "FIRSTBOOT_PROVISION_SECRET": "secret-hunter2"}
    said = run("write", *flags, "--tls-enabled", env=keys)
    assert said.exit_code == 0
    assert json.loads(Path("config.json").read_text()) == GOOD
    assert stat.S_IMODE(Path("config.json").stat().st_mode) == 0o600
    assert "hunter2" not in said.output
    said = run("check")
    assert said.exit_code == 0
    assert "talks MQTT over TLS, verified by ca.der, to tb.example.org:8883" in said.output
    assert "ESP32-a0b1c2d3e4f5" in said.output
    assert "hunter2" not in said.output


def test_write_changes_what_it_is_told_and_keeps_the_rest(run):
    lay({"server": {"port": 9999}, "period": 5})
    said = run("write", "--period", "30", "--no-tls-enabled", "--unset", "server.port", "--json")
    assert said.exit_code == 0
    assert json.loads(said.stdout)["changed"] == ["period", "server.port", "tls.enabled"]
    written = json.loads(Path("config.json").read_text())
    assert written == {**GOOD, "tls": {"enabled": False}, "period": 30}
    assert os.listdir() == ["config.json"]


def test_a_config_that_a_board_refuses_is_not_written(run):
    said = run("write", "--server-host", "tb", "--server-port", "70000", "--json")
    assert said.exit_code == 1
    error = json.loads(said.stdout)["error"]
    assert [wrong["field"] for wrong in error["errors"]] == ["server.port", "provision.key", "provision.secret"]
    assert os.listdir() == []


def test_nobody_to_ask_is_a_usage_error(run):
    assert run("write").exit_code == 2
    assert run("write", "--unset", "wifi.sid").exit_code == 2


BAD = {
    "server.port": {"server": {"port": "1883"}},
    "wifi.pasword": {"wifi": {"pasword": "wifi-hunter2"}},
    "provision.name": {"provision": {"name": "{serial}"}},
    "retry.first": {"retry": {"first": 10, "most": 5}},
    "perod": {"perod": 5},
}


@pytest.mark.parametrize("field", BAD)
def test_check_names_the_field(run, field):
    lay(BAD[field])
    said = run("check", "--json")
    assert said.exit_code == 1
    assert json.loads(said.stdout)["error"]["field"] == field
    said = run("check")
    assert said.exit_code == 1
    assert f"- {field} " in said.stderr
    assert "hunter2" not in said.output


def test_check_names_all_that_is_wrong_at_once(run):
    lay({"server": {"port": 0}, "period": "often", "transport": "amqp", "nonsense": {"x": 1, "y": 2}, "retry": 3})
    errors = json.loads(run("check", "--json").stdout)["error"]["errors"]
    assert {wrong["field"] for wrong in errors} == {
        "server.port",
        "period",
        "transport",
        "nonsense.x",
        "nonsense.y",
        "retry",
    }


NAMES = st.sampled_from([*config.FIELDS, *{n.partition(".")[0] for n in config.FIELDS}, "ssid", "host", "x", "a.b", ""])
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(NAMES, inner, max_size=3),
    max_leaves=5,
)


@given(st.dictionaries(NAMES, VALUES, max_size=6) | VALUES)
def test_whatever_the_document_the_tool_and_the_board_agree(document):
    before = copy.deepcopy(document)
    found = config.problems(document)
    assert repr(document) == repr(before)
    try:
        flat = config.fields.rules.check(copy.deepcopy(document))
    except ValueError as e:
        assert found[0].field == e.args[0]
        return
    assert found == []
    config.advice(flat)
    assert config.plan(flat)


def test_fields_in_one_word_survive(run):
    document = {"server.host": "tb", "provision.key": "k", "provision": {"secret": "s"}}
    Path("config.json").write_text(json.dumps(document))
    assert run("write", "--period", "5").exit_code == 0
    written = json.loads(Path("config.json").read_text())
    assert written == {"server": {"host": "tb"}, "provision": {"key": "k", "secret": "s"}, "period": 5}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (None, "there is no config.json"),
        ("{", "line 1"),
        ('{\n"a": 1\n"b": 2}', "line 3"),
        ("[]", "must be an object"),
        (b"\xff", "not JSON"),
        ("[" * 100000, "not JSON"),
        (json.dumps(GOOD).encode("utf-16"), "UTF-8 without BOM"),
        (json.dumps(GOOD).encode("utf-16-le"), "not JSON"),
        (json.dumps(GOOD).encode("utf-8-sig"), "UTF-8 without BOM"),
    ],
    ids=["missing", "cut", "comma", "list", "bytes", "deep", "UTF-16", "UTF-16 without BOM", "BOM"],
)
def test_broken_files(run, text, said):
    if text is not None:
        Path("config.json").write_bytes(text if isinstance(text, bytes) else text.encode())
    answer = run("check")
    assert answer.exit_code == 1
    assert said in answer.stderr


@pytest.mark.parametrize("encoding", ["utf-16", "utf-8-sig"])
def test_write_mends_what_a_board_could_not_read(run, encoding):
    Path("config.json").write_bytes(json.dumps(GOOD).encode(encoding))
    assert run("write", "--period", "5").exit_code == 0
    assert json.loads(Path("config.json").read_bytes().decode()) == {**GOOD, "period": 5}


DERIVED = {"credentials": "derived", "provision": {"fleet_secret": "0123456789abcdef"}}
PRICES = [
    ("credentials", "locked out", {"credentials": "server"}),
    (
        "credentials",
        "every board of the fleet",
        {"credentials": "derived", "provision": {"fleet_secret": "0123456789abcdef"}},
    ),
    ("provision.fleet_secret", "guess", {"credentials": "derived", "provision": {"fleet_secret": "a" * 20}}),
    ("tls.enabled", "can read", {"tls": {"enabled": False}}),
    ("tls.verify", "pose", {"tls": {"verify": False}}),
    ("ota.check", "anyone on the way", {"tls": {"enabled": False}, "ota": {"check": 60}}),
    ("ota.check", "anyone on the way", {"tls": {"verify": False}, "ota": {"check": 60}}),
    ("tls.ca", "no ca.der beside", {}),
    ("x509.cert", "no cert.der beside", {"credentials": "chain"}),
    ("provision.name", "the same", {"provision": {"name": "sensor"}}),
    ("provision.name", "longer", {"provision": {"name": "x" * 250 + "{mac}"}}),
    ("wifi.password", "8 characters", {"wifi": {"password": "short"}}),
    ("wifi.password", "empty", {"wifi": {"password": ""}}),
    ("server.host", "not a host name", {"server": {"host": "https://tb.example.org"}}),
    ("server.host", "board itself", {"server": {"host": "127.0.0.1"}}),
    ("server.host", "example's", {"server": {"host": "thingsboard.example.org"}}),
    ("period", "rate limits", {"period": 0.2}),
    ("watchdog", "is more than RPI_PICO2_W, RPI_PICO_W can: 8.388 s there", {"watchdog": 30}),
]


@pytest.mark.parametrize(("field", "text", "document"), PRICES, ids=[f"{f}-{t}" for f, t, _ in PRICES])
def test_choices_with_a_price(run, field, text, document):
    lay(document)
    said = run("check", "--json")
    assert said.exit_code == 0, said.output
    assert any(one["field"] == field and text in one["message"] for one in json.loads(said.stdout)["warnings"])


def test_a_good_config_has_no_warnings(run):
    lay({})
    Path("ca.der").write_bytes(b"x")
    assert json.loads(run("check", "--json").stdout)["warnings"] == []


def test_the_plan_has_words_for_every_mode():
    (modes,) = [field.choices for name, field in config.FIELDS.items() if name == "credentials"]
    for mode in modes:
        flat = config.checked(GOOD) | {"credentials": mode}
        assert not any("of the kind" in line for line in config.plan(flat)), mode


def test_the_plan_tells_of_updates(run):
    lay({"ota": {"check": 3600}})
    assert "looks for an update every 60 min" in run("check").output
    lay({})
    assert "update" not in run("check").output


def test_the_plan_says_dtls_for_coap(run):
    lay({"transport": "coap"})
    assert "talks COAP over DTLS, verified by ca.der, to tb.example.org:5684" in run("check").output


def test_fields_are_shown_as_the_file_has_them(run):
    rows = run("fields", env={"COLUMNS": "200"}).output.splitlines()
    shown = {row.split()[0]: re.split("  +", row)[1:3] for row in rows[1:] if row[:1].strip()}
    assert shown["tls.verify"][0] == "true" and shown["tls.enabled"][0] == "false"
    assert shown["outbox.bytes"] == ["65536", "whole number, 0 to 1048576"]
    assert shown["retry.first"] == ["2", "number, 0.01 to 3600"]


def test_a_link_stays_a_link(run):
    lay({}, "real.json")
    Path("config.json").symlink_to("real.json")
    assert run("write", "--period", "5").exit_code == 0
    assert os.readlink("config.json") == "real.json"
    assert json.loads(Path("real.json").read_text()) == {**GOOD, "period": 5}


def test_a_field_is_set_or_taken_out(run):
    lay({})
    said = run("write", "--watchdog", "5", "--unset", "watchdog")
    assert said.exit_code == 2 and "--unset" in said.stderr
    assert json.loads(Path("config.json").read_text()) == GOOD


def test_fields(run):
    listed = json.loads(run("fields", "--json").stdout)
    assert [one["name"] for one in listed] == list(config.FIELDS)
    said = run("fields", env={"COLUMNS": "160"}).output
    assert all(name in said for name in config.FIELDS)


def test_asked_at_a_terminal(tmp_path):
    """Answers typed at a terminal: secrets are not echoed, a bad answer is asked again."""
    answers = [
        "lab",
        "wifi-hunter2",
        "",
        "tb.example.org",
        "mqqt",
        "mqtt",
        "y",
        "token",
        "key-hunter2",
        "secret-hunter2",
        "",
        "30",
    ]
    told = at_a_terminal(tmp_path, ["config", "write"], answers)
    written = json.loads((tmp_path / "config.json").read_text())
    assert written == {
        **GOOD,
        "transport": "mqtt",
        "credentials": "token",
        "provision": {**GOOD["provision"], "name": "{board}-{mac}"},
        "period": 30,
    }
    assert "hunter2" not in told
    assert "transport must be one of" in told
    assert "server.host is missing" in told


def test_answers_that_do_not_go_together_are_asked_again(tmp_path):
    """A certificate needs TLS: the board would name credentials, and so does the question."""
    network = ["", "", "tb.example.org", "coap", "n"]
    told = at_a_terminal(tmp_path, ["config", "write"], [*network, "x509", "token", "k", "s", "", ""])
    assert "credentials x509 needs tls.enabled true" in told
    assert json.loads((tmp_path / "config.json").read_text())["credentials"] == "token"


def test_a_certificate_is_taken_where_tls_was(tmp_path):
    network = ["", "", "tb.example.org", "coap", "y"]
    told = at_a_terminal(tmp_path, ["config", "write"], [*network, "x509", "k", "s", "", ""])
    assert "needs tls.enabled" not in told
    assert json.loads((tmp_path / "config.json").read_text())["credentials"] == "x509"


def test_existing_answers_are_the_defaults(tmp_path):
    """Enter keeps them, and what was not asked for stays."""
    document = {**GOOD, "credentials": "derived", "retry": {"first": 1}}
    document["provision"] = {**document["provision"], "fleet_secret": "fleet-hunter2-0123456789"}
    (tmp_path / "config.json").write_text(json.dumps(document))
    at_a_terminal(tmp_path, ["config", "write"], [""] * 10 + ["7"])
    written = json.loads((tmp_path / "config.json").read_text())
    named = {"name": "{board}-{mac}", **document["provision"]}
    assert written == {**document, "provision": named, "transport": "mqtt", "period": 7}


def test_a_fleet_secret_is_made_up(tmp_path):
    told = at_a_terminal(
        tmp_path,
        ["config", "write"],
        ["", "", "tb.example.org", "", "n", "derived", "", "key-hunter2", "secret-hunter2", "", ""],
    )
    secret = json.loads((tmp_path / "config.json").read_text())["provision"]["fleet_secret"]
    assert len(secret) == 32
    assert secret not in told


def at_a_terminal(folder, args, answers):
    """Run the program on a pty, give an answer at each prompt; what the terminal showed."""
    master, slave = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "tools.cli", *args],
        stdin=slave,
        stdout=slave,
        stderr=slave,
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT), "COLUMNS": "200", "TERM": "dumb"},
        start_new_session=True,
    )
    os.close(slave)
    timer = threading.Timer(60, process.kill)
    timer.start()
    told, asked, waiting = "", 0, iter(answers)
    try:
        while data := _read(master):
            told += data.decode(errors="replace")
            # A prompt is what ends in " > " and waits; the answer must come after it, or it would be echoed.
            if re.search(r" > $", told[asked:]):
                asked = len(told)
                os.write(master, next(waiting).encode() + b"\n")
    finally:
        timer.cancel()
        os.close(master)
    assert process.wait(timeout=30) == 0, told
    assert next(waiting, None) is None, told
    return told


def _read(fd):
    try:
        return os.read(fd, 4096)
    except OSError:  # the other side is closed
        return b""
