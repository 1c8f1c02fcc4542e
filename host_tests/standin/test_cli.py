"""`python -m tools.standin` as a person or a script runs it."""

import json
import re
import signal
import socket
import ssl
import subprocess
import sys
import threading
import urllib.request
from pathlib import Path

import paho.mqtt.client as mqtt
import pytest
from typer.testing import CliRunner

from tools.cli import app

ROOT = Path(__file__).resolve().parents[2]
PORTS = [f"--{port}-port=0" for port in ("mqtt", "http", "coap", "mqtts", "https", "coaps")]
PATIENCE = 60  # seconds; on a loaded machine


class Program:
    """The program, running, as a context manager: its lines on both streams, and what it wrote before it was ready."""

    def __init__(self, *arguments):
        command = [sys.executable, "-m", "tools.standin", *arguments]
        self.process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        self.watchdog = threading.Timer(PATIENCE, self.process.kill)
        self.watchdog.start()
        self.banner = ""

    def __enter__(self):
        while "Ctrl-C" not in self.banner:
            line = self.process.stderr.readline()
            assert line, f"ended early: {self.banner}"
            self.banner += line
        return self

    def __exit__(self, *_):
        self.watchdog.cancel()
        self.process.kill()
        self.process.communicate()

    def ports(self):
        return [int(port) for port in re.findall(r"127\.0\.0\.1:(\d+)", self.banner)]

    def end(self, how=signal.SIGINT):
        """Its exit status after the signal, and the rest of what it said."""
        self.process.send_signal(how)
        out, err = self.process.communicate(timeout=PATIENCE)
        return self.process.returncode, out, err


def provision(url, name, context=None):
    body = {"provisionDeviceKey": "k", "provisionDeviceSecret": "s", "deviceName": name, "token": f"{name}-token"}
    request = urllib.request.Request(url, json.dumps(body).encode(), method="POST")
    return json.load(urllib.request.urlopen(request, timeout=20, context=context))["status"]


def standin(*arguments):
    """The program's end, where it does not get as far as to serve."""
    return CliRunner().invoke(app, ["standin", *map(str, arguments)])


def test_a_session(tmp_path):
    ca = tmp_path / "ca.pem"
    with Program(*PORTS, "--tls", f"--ca-file={ca}", "--key=k", "--secret=s", "--telemetry=2:60") as program:
        mqtt_port, http_port, coap_port, mqtts_port, https_port, coaps_port = program.ports()
        assert coaps_port not in (0, coap_port)
        assert provision(f"http://127.0.0.1:{http_port}/api/v1/provision", "board-1") == "SUCCESS"
        trusting = ssl.create_default_context(cafile=ca)
        assert provision(f"https://localhost:{https_port}/api/v1/provision", "board-2", trusting) == "SUCCESS"
        for port, name in ((mqtt_port, "board-1"), (mqtts_port, "board-2")):
            client = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2, protocol=mqtt.MQTTv311)
            client.username_pw_set(f"{name}-token")
            if port == mqtts_port:
                client.tls_set(str(ca))
            client.connect("localhost", port)
            client.loop_start()
            sent = client.publish("v1/devices/me/telemetry", '{"temperature":21.5}', 1)
            sent.wait_for_publish(20)
            assert sent.is_published()
            client.disconnect()
            client.loop_stop()
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            sock.settimeout(20)
            sock.connect(("127.0.0.1", coap_port))
            sock.send(b'\x40\x02\x00\x01\xb3api\x02v1\x0d\x00board-1-token\x09telemetry\xff{"n":1}')
            assert any(sock.recv(100)[1] == 0x41 for _ in range(2))  # after an empty ACK, where it took its time
        status, out, err = program.end()
    assert status == 0
    assert err == "stopped\n"
    lines = [re.sub(r"^\d\d:\d\d:\d\d\.\d{3} ", "", line) for line in out.splitlines()]
    assert lines[0] == "http  board-1: provisioning request: SUCCESS, ACCESS_TOKEN"
    assert "mqtt  board-1: connected" in lines
    assert "mqtt  board-2: telemetry temperature=21.5" in lines
    assert "coap  board-1: telemetry n=1" in lines
    assert "-token" not in out


def test_a_reader_of_its_lines_may_go_away():
    with Program(*PORTS, "--key=k", "--secret=s") as program:
        program.process.stdout.close()
        for number in range(3):
            assert provision(f"http://127.0.0.1:{program.ports()[1]}/api/v1/provision", f"board-{number}") == "SUCCESS"


def test_json_lines_and_a_database_that_is_kept(tmp_path):
    database = tmp_path / "standin.db"
    for strategy_outcome in ("SUCCESS", "FAILURE"):  # the second run knows the device
        with Program(*PORTS, "--json", f"--db={database}", "--key=k", "--secret=s") as program:
            assert provision(f"http://127.0.0.1:{program.ports()[1]}/api/v1/provision", "d") == strategy_outcome
            status, out, _ = program.end(signal.SIGTERM)
        assert status == 0
        event = json.loads(out.splitlines()[0])
        assert (event["transport"], event["who"]) == ("http", "d")
        assert event["what"].startswith(f"provisioning request: {strategy_outcome}")


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--release=1.0"], "--release"),
        (["--strategy=NONE"], "--strategy"),
        (["--host=8.8.8.8"], "--host"),
        (["--host=elsewhere"], "--host"),
        (["--points=many"], "20:1,600:60"),
        (["--mqtt-port=http"], "--mqtt-port"),
        (["--mqtt-port=99999"], "--mqtt-port"),
        (["--coaps-port=-1"], "--coaps-port"),
    ],
)
def test_wrong_options_are_named(arguments, says):
    done = standin(*arguments)
    assert done.exit_code == 2
    assert says in done.output


def test_a_taken_port_and_an_unusable_ca_are_told(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        done = standin(*PORTS[1:], f"--mqtt-port={taken.getsockname()[1]}")
    assert done.exit_code == 1
    assert "choose another port" in done.output
    (tmp_path / "ca.pem").write_text("no certificate")
    (tmp_path / "ca.key").write_text("no key")
    for file in (tmp_path / "ca.pem", tmp_path / "nowhere" / "ca.pem"):
        done = standin(*PORTS, f"--ca-file={file}")
        assert done.exit_code == 1
        assert str(file.parent.name) in done.output.replace("\n", "")


@pytest.mark.parametrize("there", [("ca.pem",), ("ca.key",), ("ca.der",), ("ca.pem", "ca.der")])
def test_a_ca_that_is_not_whole_is_never_written_over(tmp_path, there):
    for name in there:
        (tmp_path / name).write_text("precious")
    done = standin(*PORTS, f"--ca-file={tmp_path / 'ca.pem'}")
    assert done.exit_code == 1
    assert f"{there[0]} exists, without" in done.output
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == dict.fromkeys(there, "precious")


@pytest.mark.parametrize("name", ["ca.der", "ca.key"])
def test_a_ca_file_must_not_be_named_as_those_beside_it(tmp_path, name):
    done = standin(*PORTS, f"--ca-file={tmp_path / name}")
    assert done.exit_code == 1 and "name the PEM file" in done.output
    assert not any(tmp_path.iterdir())


def test_a_database_that_is_none_is_told_in_json_too(tmp_path):
    (tmp_path / "app.py").write_text("no database")
    for file in (tmp_path, tmp_path / "app.py"):
        done = standin(*PORTS, f"--db={file}", "--json")
        assert done.exit_code == 1
        error = json.loads(done.stdout)["error"]
        assert f"--db {file} can't be used" in error["message"]
        assert len(done.stdout.splitlines()) == 1
