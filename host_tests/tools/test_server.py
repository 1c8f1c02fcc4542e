"""`firstboot profile` and `firstboot bulk`: against the stand-in's REST face, through ThingsBoard's own client."""

import csv
import hashlib
import hmac
import http.server
import json
import socket
import threading
from pathlib import Path

import pytest
import trustme
from said import error, good
from typer.testing import CliRunner

from tools import boards, cli
from tools.build import firmware
from tools.bulk import device_name, parse_mac
from tools.image import split
from tools.standin import Standin
from tools.standin.provisioning import PRE_PROVISIONED
from tools.vboard import Image, VirtualBoard

FLEET_SECRET = "the fleet's own secret"


@pytest.fixture
def server():
    with Standin() as standin:
        yield standin


@pytest.fixture
def run(server, tmp_path, monkeypatch):
    """`firstboot ARGS` in an empty folder, signed in at the stand-in."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("FIRSTBOOT_SERVER", f"http://{server.host}:{server.http_port}")
    monkeypatch.setenv("FIRSTBOOT_PASSWORD", "tenant")
    for name in ("FIRSTBOOT_USER", "FIRSTBOOT_API_KEY", "FIRSTBOOT_PROVISION_SECRET"):
        monkeypatch.delenv(name, raising=False)

    def run(*args, **more):
        return CliRunner().invoke(cli.app, list(args), **more)

    return run


def write_config(port=1883, **more):
    config = {
        "wifi": {"ssid": "lab", "password": "lab-password"},
        "server": {"host": "127.0.0.1", "port": port},
        "provision": {"key": "profile-key", "secret": "profile-secret"},
        "period": 0.1,
    }
    for name, value in more.items():
        config[name] = {**config.get(name, {}), **value} if isinstance(value, dict) else value
    Path("config.json").write_text(json.dumps(config))


DERIVED = {"credentials": "derived", "provision": {"fleet_secret": FLEET_SECRET, "key": "k", "secret": "s"}}

# Profiles


def test_a_profile_is_made_and_its_keys_work(run, server):
    write_config(server.mqtt_port)
    made = good(run("profile", "create", "boards", "--into", "config.json", "--json"))
    profile = server.registry.profile(name="boards")
    assert (profile.strategy, profile.key, profile.secret) == ("ALLOW_CREATE_NEW_DEVICES", made["key"], made["secret"])
    assert len(made["key"]) == len(made["secret"]) == 20
    written = json.loads(Path("config.json").read_text())
    assert written["provision"] == {"key": made["key"], "secret": made["secret"]}
    assert written["wifi"]["ssid"] == "lab"
    assert good(run("profile", "show", "boards", "--json")) == made


def test_a_person_sees_the_keys(run):
    said = run("profile", "create", "boards", "--strategy", "check", "--key", "my-key", "--secret", "my-secret")
    assert said.exit_code == 0
    assert "check" in said.stdout and "my-key" in said.stdout and "my-secret" in said.stdout
    listed = run("profile", "list")
    assert "my-key" in listed.stdout and "my-secret" not in listed.stdout


def test_a_chain_profile(run, server):
    ca = Path("ca.pem")
    ca.write_bytes(trustme.CA().cert_pem.bytes())
    good(run("profile", "create", "chained", "--strategy", "chain", "--certificate", str(ca), "--json"))
    profile = server.registry.profile(name="chained")
    assert (profile.strategy, profile.pattern, profile.allow_create) == ("X509_CERTIFICATE_CHAIN", "(.+)", True)
    assert profile.secret == ca.read_text()
    Path("ca.der").write_bytes(b"\x30\xff")
    said = run("profile", "create", "other", "--strategy", "chain", "--certificate", "ca.der", "--json")
    assert "PEM" in error(said)["message"]


def test_what_is_taken_is_told(run):
    good(run("profile", "create", "boards", "--key", "k", "--json"))
    assert "already" in error(run("profile", "create", "boards", "--json"))["message"]
    taken = error(run("profile", "create", "others", "--key", "k", "--json"))
    assert taken["status"] == 400
    assert "provision device key already exists" in taken["message"]
    assert "no device profile" in error(run("profile", "show", "nobody's", "--json"))["message"]


def test_more_profiles_than_a_page(run, server):
    for number in range(230):
        server.add_profile(f"profile {number}", key=f"key {number}")
    assert len(good(run("profile", "list", "--json"))) == 230
    assert good(run("profile", "show", "profile 22", "--json"))["key"] == "key 22"


def test_a_config_that_can_not_be_written(run, server, monkeypatch):
    told = error(run("profile", "create", "x", "--into", "nope/config.json", "--json"))
    assert "no folder nope" in told["message"]
    assert server.registry.profile(name="x") is None

    def fails(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.replace", fails)
    told = error(run("profile", "create", "my x", "--into", "config.json", "--json"))
    assert told["message"] == "the profile is made, but config.json can't be written: No space left on device"
    assert told["hint"] == "firstboot profile show 'my x' --into config.json"
    assert server.registry.profile(name="my x")


def test_misuse_is_2(run):
    assert run("bulk", "macs.txt", "--update").exit_code == 2
    assert run("profile", "create", "x", "--strategy", "all").exit_code == 2
    assert run("profile", "create", "x", "--strategy", "chain").exit_code == 2
    assert run("profile", "create", "x", "--strategy", "disabled", "--into", "config.json").exit_code == 2


# The server, and what can be wrong with it


def test_a_wrong_password(run, monkeypatch):
    monkeypatch.setenv("FIRSTBOOT_PASSWORD", "guess")
    assert "does not let tenant@thingsboard.org in" in error(run("profile", "list", "--json"))["message"]


def test_a_password_is_asked_for(run, monkeypatch):
    monkeypatch.delenv("FIRSTBOOT_PASSWORD")
    nobody = error(run("profile", "list", "--json"))
    assert "no terminal" in nobody["message"] and "FIRSTBOOT_PASSWORD" in nobody["hint"]
    monkeypatch.setattr("tools.console.is_terminal", lambda: True)
    said = run("profile", "list", "--json", input="tenant\n")
    assert said.exit_code == 0
    assert "Password of tenant@thingsboard.org" in said.stderr


def test_an_api_key_is_used_as_it_is(run, monkeypatch):
    monkeypatch.setenv("FIRSTBOOT_API_KEY", "nonsense")
    assert error(run("profile", "list", "--json"))["status"] == 401


def closed_port():
    with socket.create_server(("127.0.0.1", 0)) as s:
        return s.getsockname()[1]


def test_a_server_that_is_not_there(run):
    said = run("profile", "list", "--server", f"http://127.0.0.1:{closed_port()}")
    assert said.exit_code == 1
    assert "can't be reached: connection refused" in said.stderr
    said = run("profile", "list", "--server", "http://nowhere.invalid")
    assert "nowhere.invalid can't be reached" in said.stderr and "rrno" not in said.stderr
    for where in ("", "http://", "ftp://x", "http://127.0.0.1:99999"):
        assert "not the address of a web page" in error(run("profile", "list", "--server", where, "--json"))["message"]


class _Other(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"<html>router</html>")

    def log_message(self, *_):
        pass


def test_a_server_that_is_another(run):
    with http.server.HTTPServer(("127.0.0.1", 0), _Other) as other:
        threading.Thread(target=other.serve_forever, daemon=True).start()
        said = run("profile", "list", "--server", f"http://127.0.0.1:{other.server_port}", "--json")
        other.shutdown()
    assert "not as ThingsBoard does" in error(said)["message"]


def test_over_tls_with_a_ca_of_ones_own(run, monkeypatch):
    with Standin(tls=True) as server:
        where = f"https://localhost:{server.https_port}"
        assert good(run("profile", "list", "--server", where, "--ca", str(server.ca_pem), "--json")) == []
        unknown = error(run("profile", "list", "--server", where, "--json"))
        assert unknown["message"] == f"{where}: TLS: unable to get local issuer certificate"
        assert "--ca" in unknown["hint"]
        plain = where.replace(str(server.https_port), str(server.http_port))
        told = error(run("profile", "list", "--server", plain, "--json"))
        assert told["message"] == f"{plain}: TLS: wrong version number" and "http://" in told["hint"]
        told = error(run("profile", "list", "--server", where.replace("https", "http"), "--json"))
        assert "it closed the connection" in told["message"]


def test_a_ca_that_is_none_is_told_before_the_server_is_asked(run, tmp_path):
    (tmp_path / "junk.pem").write_text("junk")
    for name, says in (("none.pem", "can't be read: No such file"), ("junk.pem", "holds no certificate in PEM")):
        said = run("profile", "list", "--ca", name, "--json")
        assert f"--ca {name}" in error(said)["message"] and says in error(said)["message"]


# Lists of MACs


def table(text):
    return list(csv.reader(text.splitlines()))


def test_macs_become_the_import(run):
    write_config()
    Path("macs.txt").write_text("# first box\nA0:B1:C2:D3:E4:F5\n\na0-b1-c2-d3-e4-f6  # of the lab\na0b1.c2d3.e4f7\n")
    said = run("bulk", "macs.txt", "--board", "ESP32_GENERIC", "--profile", "boards", "--label", "Hall 3")
    assert table(said.stdout) == [
        ["name", "type", "label"],
        ["ESP32-a0b1c2d3e4f5", "boards", "Hall 3"],
        ["ESP32-a0b1c2d3e4f6", "boards", "Hall 3"],
        ["ESP32-a0b1c2d3e4f7", "boards", "Hall 3"],
    ]


def test_derived_tokens_are_those_that_the_boards_make(run):
    write_config(**DERIVED)
    Path("macs.csv").write_text(
        "label,MAC,Board\nHall 1,a0b1c2d3e4f5,RPI_PICO_W\nHall 2,a0b1c2d3e4f6,ESP32_GENERIC_C3\n"
    )
    said = run("bulk", "macs.csv", "-o", "devices.csv")
    assert said.exit_code == 0
    rows = table(Path("devices.csv").read_text())
    assert rows[0] == ["name", "type", "label", "access token"]
    assert [row[:3] for row in rows[1:]] == [
        ["RP2040-a0b1c2d3e4f5", "default", "Hall 1"],
        ["ESP32C3-a0b1c2d3e4f6", "default", "Hall 2"],
    ]
    for name, *_, token in rows[1:]:
        assert token == hmac.new(FLEET_SECRET.encode(), name.encode(), hashlib.sha256).hexdigest()[:32]
    assert Path("devices.csv").stat().st_mode & 0o777 == 0o600
    assert "Access token" in said.stderr
    assert table(run("bulk", "macs.csv", "--no-derived").stdout)[0] == ["name", "type", "label"]


@pytest.mark.parametrize("name", boards.names())
def test_a_board_calls_itself_by_this_name(name):
    """The virtual board's machine name is upstream's; the firmware takes the chip from it."""
    chip = boards.load(name).machine.split(" with ")[-1].upper()
    assert device_name("{board}/{mac}", "a0b1c2d3e4f5", name) == f"{chip}/a0b1c2d3e4f5"


def test_every_line_that_is_wrong_is_named(run):
    write_config()
    lines = ["a0b1c2d3e4f5", "A0:B1:C2:D3:E4:F5", "a0b1c2d3e4", "zz", "01b1c2d3e4f5", "000000000000"]
    Path("macs.txt").write_text("\n".join(lines))
    failed = error(run("bulk", "macs.txt", "--board", "ESP32_GENERIC", "-o", "out.csv", "--json"))
    assert [one["line"] for one in failed["errors"]] == [2, 3, 4, 5, 6]
    assert "line 1 already" in failed["errors"][0]["message"]
    assert not Path("out.csv").exists()


def test_a_mac_is_shown_as_it_is(run):
    """Rich takes :cd: for an emoji."""
    write_config()
    Path("macs.txt").write_text("28:cd:c1:0a:4b:0\n")
    assert "line 1: '28:cd:c1:0a:4b:0' is not a MAC" in run("bulk", "macs.txt").stderr


WRONG = [
    ("sensor", "ESP32_GENERIC", "a0b1c2d3e4f5\na0b1c2d3e4f6", "put {mac} into provision.name"),
    ("x" * 250 + "{mac}", "", "a0b1c2d3e4f5", "262 characters"),
    ("{board}-{mac}", "", "a0b1c2d3e4f5", "--board"),
    ("{board}-{mac}", "ESP8266", "a0b1c2d3e4f5", "there is no board ESP8266"),
    ("{uid}", "RPI_PICO_W", "a0b1c2d3e4f5", "only an ESP32's MAC"),
    ("{mac}", "", "mac,label\na0b1c2d3e4f5," + "x" * 256, "label is longer"),
    ("{mac}", "", "\n# none\n", "holds no MAC"),
    ("{mac}", "", "mac,label\na0b1c2d3e4f5,Hall 1,third", "has 3 cells, and the columns are mac, label"),
    ("{mac}", "", 'mac,label\na0b1c2d3e4f5,"Hall 1', "is no line of a CSV"),
]


@pytest.mark.parametrize(("template", "board", "text", "said"), WRONG, ids=[said for *_, said in WRONG])
def test_names_that_can_not_be(run, template, board, text, said):
    write_config(provision={"name": template})
    Path("macs.txt").write_text(text)
    failed = error(run("bulk", "macs.txt", "--json", *(["--board", board] if board else [])))
    assert said in failed["message"]


def test_a_list_of_names(run):
    write_config()
    Path("names.csv").write_text("name,label\npump-1,Hall 1\npump-2,\n")
    assert table(run("bulk", "names.csv").stdout)[1:] == [["pump-1", "default", "Hall 1"], ["pump-2", "default", ""]]


@pytest.mark.parametrize(
    "text", ["a0:b1:c2:d3:e4:f5", "A0B1C2D3E4F5", "a0-b1-c2-d3-e4-f5", "a0b1.c2d3.e4f5", "a0 b1 c2 d3 e4 f5"]
)
def test_ways_to_write_a_mac(text):
    assert parse_mac(text) == "a0b1c2d3e4f5"


# Uploading


def macs(count):
    Path("macs.txt").write_text("\n".join(f"a0b1c2{number:06x}" for number in range(count)))


def test_upload(run, server):
    write_config(**DERIVED)
    server.add_profile("boards")
    macs(450)  # three requests
    upload = ["bulk", "macs.txt", "--board", "ESP32_GENERIC", "--profile", "boards", "--upload", "--json"]
    result = good(run(*upload))
    assert (result["created"], result["updated"], result["errors"]) == (450, 0, [])
    devices = server.devices()
    assert len(devices) == 450
    one = server.device("ESP32-a0b1c20001c1")
    assert one.credentials.id == hmac.new(FLEET_SECRET.encode(), one.name.encode(), hashlib.sha256).hexdigest()[:32]
    assert one.profile == server.registry.profile(name="boards").id

    again = error(run(*upload))
    assert "devices already" in again["message"] and len(again["devices"]) == 450
    assert good(run(*upload, "--update"))["updated"] == 450


def test_an_unknown_profile_is_not_made_by_accident(run, server):
    write_config()
    macs(1)
    said = error(run("bulk", "macs.txt", "--board", "ESP32_GENERIC", "--profile", "borads", "--upload", "--json"))
    assert "no device profile borads" in said["message"]
    assert server.registry.profile(name="borads") is None


def test_lines_that_the_server_does_not_take_are_named(run, server):
    write_config(**DERIVED)
    profile = server.add_profile("boards")
    macs(3)
    token = hmac.new(FLEET_SECRET.encode(), b"ESP32-a0b1c2000001", hashlib.sha256).hexdigest()[:32]
    server.add_device("somebody else's", profile, token)
    args = ["bulk", "macs.txt", "--board", "ESP32_GENERIC", "--profile", "boards", "--upload", "--json"]
    failed = error(run(*args))
    assert failed["created"] == 2
    (line,) = failed["errors"]
    assert line.startswith("line 2, ESP32-a0b1c2000001: ")


@pytest.mark.vm
def test_a_board_of_the_list_finds_its_device(run, server):
    """Pre-provisioned by a list, derived token: the board introduces itself and is let in."""
    server.add_profile("boards", PRE_PROVISIONED, "profile-key", "profile-secret")
    derived = {"fleet_secret": FLEET_SECRET, "name": "{board}-{mac}"}
    write_config(server.mqtt_port, credentials="derived", provision=derived)
    image = Image("flash").format()
    image.put({**firmware(), "/config.json": Path("config.json").read_bytes()})
    board = VirtualBoard(image, "ESP32_GENERIC", uid=bytes.fromhex("a0b1c2d3e4f5"))
    Path("macs.txt").write_text(board.mac)
    good(run("bulk", "macs.txt", "--board", "ESP32_GENERIC", "--profile", "boards", "--upload", "--json"))
    ran = board.run("telemetry: acknowledged", 30)
    assert ran.ended == "found", ran.log
    (device,) = server.devices()
    assert device.name == f"ESP32-{board.mac}"
    assert server.telemetry(device.name)


@pytest.mark.vm
def test_from_an_empty_folder_to_a_fleet(run, server):
    """A factory's day, by commands only: profile, config, image; two boards from one file are two devices."""
    good(run("profile", "create", "boards", "--into", "config.json", "--json"))
    lab = ["--wifi-ssid", "lab", "--wifi-password", "lab-password", "--period", "0.1"]
    good(run("config", "write", *lab, "--server-host", "127.0.0.1", "--server-port", str(server.mqtt_port), "--json"))
    good(run("config", "check", "--json"))
    made = good(run("image", "make", "RPI_PICO_W", "--json"))
    flash, _ = split(Path(made["path"]).read_bytes())
    for name in ("first", "second"):
        Path(name).write_bytes(flash.ljust(boards.load("RPI_PICO_W").fs.size, b"\xff"))
        ran = VirtualBoard(Image(name), "RPI_PICO_W").run("telemetry: acknowledged", 30)
        assert ran.ended == "found", ran.log
    devices = server.devices()
    assert len({device.name for device in devices}) == len({device.credentials.id for device in devices}) == 2
    assert all(device.name.startswith("RP2040-") and server.telemetry(device.name) for device in devices)
