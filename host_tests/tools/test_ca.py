"""`firstboot ca`: what it writes is what verifies the server, and nothing that nobody vouched for is written."""

import json
import socket
import threading

import pytest
from typer.testing import CliRunner

from tools import cli
from tools.ca import _address
from tools.standin import Standin
from tools.standin.certificates import Pair


@pytest.fixture
def server():
    with Standin(tls=True) as standin:
        yield standin


@pytest.fixture
def run(tmp_path, monkeypatch):
    """Run `firstboot ca ...` in an empty folder; its JSON where --json was given, else what it said."""
    monkeypatch.chdir(tmp_path)

    def call(*arguments, code=0):
        said = CliRunner().invoke(cli.app, ["ca", *map(str, arguments)])
        assert said.exit_code == code, said.output
        assert (tmp_path / "ca.der").exists() == (code == 0)
        return json.loads(said.stdout) if "--json" in arguments else said.output

    return call


def address(server, host="localhost"):
    return f"{host}:{server.mqtts_port}"


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1"])
@pytest.mark.parametrize("port", ["mqtts_port", "https_port"])
def test_a_ca_that_this_computer_knows(server, run, tmp_path, monkeypatch, host, port):
    monkeypatch.setenv("SSL_CERT_FILE", str(server.ca_pem))
    said = run(f"{host}:{getattr(server, port)}", "--json")
    assert (tmp_path / "ca.der").read_bytes() == server.ca_der.read_bytes()
    assert said["known_by"] == "this computer" and said["key"] == "EC secp256r1"
    assert said["file"] == "ca.der" and len(said["sha256"]) == 95


@pytest.mark.parametrize(
    ("text", "host", "port"),
    [
        ("tb.example.org", "tb.example.org", 8883),
        ("tb.example.org:443/", "tb.example.org", 443),
        ("[::1]:443", "::1", 443),
        ("[::1]", "::1", 8883),
        ("::1", "::1", 8883),
    ],
)
def test_addresses(text, host, port):
    assert _address(text) == (host, port)


def test_from_a_file(server, run, tmp_path):
    for source in (server.ca_pem, server.ca_der):
        text = run(address(server), "--file", source)
        assert "written ca.der" in text and '"tls": {"enabled": true}' in text
        assert (tmp_path / "ca.der").read_bytes() == server.ca_der.read_bytes()
        (tmp_path / "ca.der").unlink()


def test_the_root_of_a_bundle(server, run, tmp_path):
    bundle = tmp_path / "bundle.pem"
    leaf = server.authority.server("good").certificate.read_bytes()
    bundle.write_bytes(leaf + server.ca_pem.read_bytes())
    run(address(server), "--file", bundle)
    assert (tmp_path / "ca.der").read_bytes() == server.ca_der.read_bytes()
    (tmp_path / "ca.der").unlink()
    bundle.write_bytes(leaf * 2)
    assert "holds 2 certificates, 0 of them roots" in run(address(server), "--file", bundle, code=1)


def test_a_server_that_shows_its_ca_is_trusted_on_request_only(server, run, tmp_path):
    pair = server.authority.server("good")
    chain = tmp_path / "chain.pem"
    chain.write_bytes(pair.certificate.read_bytes() + server.ca_pem.read_bytes())
    server.use_certificate(Pair(chain, pair.key))
    said = run(address(server), "--json", code=1)
    assert "does not know the server's CA" in said["error"]["message"]
    fingerprint = said["error"]["message"].split()[-1]
    assert "another one than --sha256" in run(address(server), "--sha256", "ab" * 32, code=1)
    assert run(address(server), "--json", "--sha256", fingerprint.lower().replace(":", ""))["known_by"] == "fingerprint"
    (tmp_path / "ca.der").unlink()
    assert run(address(server), "--json", "--yes")["known_by"] == "you"
    assert (tmp_path / "ca.der").read_bytes() == server.ca_der.read_bytes()


def test_a_server_that_shows_its_own_certificate_only(server, run):
    text = run(address(server), "--yes", code=1)
    assert "firstboot stand-in" in text and "--file" in text


def test_a_self_signed_server(server, run):
    server.use_certificate("self-signed")
    assert run(address(server), "--yes", "--json")["subject"] == "CN=localhost"


@pytest.mark.parametrize(
    "kind, reason",
    [
        ("expired", "expired"),
        ("not yet valid", "not yet valid"),
        ("wrong host", "Hostname mismatch"),
        ("self-signed", "self.signed certificate"),
        ("wrong CA", "unable to get local issuer"),
    ],
)
def test_what_the_board_would_refuse_is_not_written(server, run, kind, reason):
    import re

    server.use_certificate(kind)
    text = run(address(server), "--file", server.ca_pem, code=1)
    assert re.search(f"the board would refuse localhost:{server.mqtts_port}: .*{reason}", text), text


@pytest.mark.parametrize("content", [b"", b"junk", b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"])
def test_a_file_that_is_no_certificate(server, run, tmp_path, content):
    (tmp_path / "x.pem").write_bytes(content)
    assert "x.pem holds no certificate" in run(address(server), "--file", "x.pem", code=1)


def test_a_file_that_is_missing(server, run):
    assert "no.pem can't be read" in run(address(server), "--file", "no.pem", code=1)


def test_a_server_that_is_not_there(run):
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    assert "can't be reached" in run(f"127.0.0.1:{port}", code=1)
    assert "does not resolve" in run("no-such-host.invalid", code=1)


def test_a_server_without_tls(run):
    def close(listener):
        listener.accept()[0].close()

    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=close, args=(listener,), daemon=True).start()
        assert "does not speak TLS" in run(f"127.0.0.1:{listener.getsockname()[1]}", code=1)


def test_a_server_that_is_silent(run):
    with socket.create_server(("127.0.0.1", 0)) as listener:
        text = run(f"127.0.0.1:{listener.getsockname()[1]}", "--timeout", "0.3", code=1)
    assert "did not finish the TLS handshake within 0.3 s" in text


@pytest.mark.parametrize("server", ["", ":1", "a:b", "a:0", "a:65536", "https://a/"])
def test_what_is_no_address(run, server):
    assert "is not a host or host:port" in run(server, code=1)
