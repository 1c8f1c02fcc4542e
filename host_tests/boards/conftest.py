"""MicroPython's own tree and manifest reader, a site for mip on loopback, and mpremote with that site as its world."""

import functools
import hashlib
import importlib.util
import json
import os
import subprocess
import sys
import threading
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from tools.build import firmware
from tools.places import MICROCOAPY, ROOT
from tools.vm import umqtt_simple
from tools.vm.tree import source

# What the boards' and the ports' own manifests require of micropython-lib: empty here.
LIBRARIES = [
    "aioble",
    "aioespnow",
    "bundle-networking",
    "dht",
    "ds18x20",
    "mip-cmdline",
    "neopixel",
    "onewire",
    "ssl",
    "umqtt.robust",
    "upysh",
]


@pytest.fixture(scope="session")
def micropython() -> Path:
    return source()


@pytest.fixture(scope="session")
def manifestfile(micropython):
    spec = importlib.util.spec_from_file_location("manifestfile", micropython / "tools/manifestfile.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def library(tmp_path_factory) -> Path:
    """Stands where micropython-lib is."""
    root = tmp_path_factory.mktemp("lib")
    for name in LIBRARIES:
        (root / "micropython" / name).mkdir(parents=True)
        (root / "micropython" / name / "manifest.py").write_text('metadata(version="1.0.0")\n')
    umqtt = root / "micropython/umqtt.simple"
    (umqtt / "umqtt").mkdir(parents=True)
    (umqtt / "umqtt/simple.py").write_bytes(umqtt_simple().read_bytes())
    (umqtt / "manifest.py").write_text('metadata(version="1.3.4")\npackage("umqtt")\n')
    return root


@pytest.fixture
def read(manifestfile, micropython, library, monkeypatch, tmp_path):
    """Read a manifest (a path, or its text) as the build of `port` does; what is frozen: board path -> its entry."""
    monkeypatch.chdir(tmp_path)

    def read(manifest, port="esp32", board=None, mode=manifestfile.MODE_FREEZE):
        places = {"MPY_DIR": micropython, "MPY_LIB_DIR": library, "PORT_DIR": micropython / "ports" / port}
        if board:
            places["BOARD_DIR"] = board
        reader = manifestfile.ManifestFile(mode, {name: str(path) for name, path in places.items()})
        reader.execute(str(manifest))
        files = {entry.target_path: entry for entry in reader.files()}
        assert len(files) == len(reader.files()), "something is frozen twice"
        return files

    return read


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
    shims = {f"microcoapy/{path.name}": path for path in MICROCOAPY.glob("*.py")}
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


@pytest.fixture
def install(site):
    """Have a real mpremote install `package` (a package.json) by mip on a running virtual board."""

    def install(board, package):
        port = os.path.realpath(board.serial())
        command = [sys.executable, "-c", MPREMOTE, site, "connect", port, "mip", "install", "--index", f"{site}index"]
        return subprocess.run([*command, str(package)], capture_output=True, text=True, timeout=90)

    return install
