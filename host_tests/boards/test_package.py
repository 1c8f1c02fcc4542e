"""A real mpremote installs package.json by mip on a virtual board, which then boots."""

import functools
import hashlib
import json
import os
import subprocess
import sys
import threading
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

import tools.package
from tools.build import FIRMWARE, SHIMS, firmware
from tools.stage import Stage
from tools.vboard import Image, VirtualBoard

ROOT = FIRMWARE.parent

# mpremote, but what it would take from a repository's host comes from the first argument instead.
MPREMOTE = """
import re, sys, urllib.request
from mpremote.main import main
base = sys.argv.pop(1)
urlopen = urllib.request.urlopen
urllib.request.urlopen = lambda url: urlopen(re.sub("^https://[^/]+/", base + "repository/", url))
sys.exit(main())
"""


@pytest.fixture
def site(tmp_path):
    """On loopback: the tree, a package index with umqtt.simple, and microCoAPy's repository with our stand-in."""
    root = tmp_path / "site"
    root.mkdir()
    (root / "tree").symlink_to(ROOT)
    code = firmware()["/lib/umqtt/simple.mpy"]
    digest = hashlib.sha256(code).hexdigest()[:8]
    _write(root / "index/file" / digest[:2] / digest, code)
    entry = {"v": 1, "version": "1.4.0", "hashes": [["umqtt/simple.mpy", digest]]}
    _write(root / "index/package/6/umqtt.simple/latest.json", json.dumps(entry).encode())
    shims = {f"microcoapy/{path.name}": path for path in (SHIMS / "microcoapy").glob("*.py")}
    repository = root / "repository/insighio/microCoAPy/HEAD"
    for name, path in shims.items():
        _write(repository / name, path.read_bytes())
    urls = {"urls": [[name, name] for name in shims], "version": "0.5.1"}
    _write(repository / "package.json", json.dumps(urls).encode())
    server = ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(_Quiet, directory=str(root)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/"
    server.shutdown()
    server.server_close()


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_):
        pass


def _write(path: Path, data: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)


def install(board, site, package):
    port = os.path.realpath(board.serial())
    command = [sys.executable, "-c", MPREMOTE, site, "connect", port, "mip", "install", "--index", f"{site}index"]
    return subprocess.run([*command, package], capture_output=True, text=True, timeout=90)


def test_mip_installs_it_and_the_board_boots(site):
    with Stage("coap") as stage:
        image = Image(stage.image().path.with_name("mip.img")).format()
        own = {"/config.json": json.dumps(stage.config).encode(), "/app.py": (FIRMWARE / "app.py").read_bytes()}
        image.put(own)
        board = VirtualBoard(image, heap=256 * 1024)
        board.serial()
        with board:
            done = install(board, site, f"{site}tree/package.json")
        assert done.returncode == 0, done.stdout + done.stderr
        wanted = {f"/lib/{module}": (FIRMWARE / module).stat().st_size for module in tools.package.modules()}
        got = image.ls()
        assert {path: size for path, size in got.items() if path.startswith("/lib/firstboot")} == wanted
        assert "/lib/umqtt/simple.mpy" in got and "/lib/microcoapy/microcoapy.py" in got
        image.put({"/main.py": (FIRMWARE / "main.py").read_bytes()})
        run = stage.board(image, heap=256 * 1024).run("telemetry: acknowledged", timeout=60)
        assert run.ended == "found", run.log
        assert len(stage.standin.devices()) == 1
