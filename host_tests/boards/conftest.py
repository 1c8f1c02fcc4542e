"""MicroPython's own manifest reader, on MicroPython's own tree, with the libraries that its manifests ask for."""

import importlib.util
from pathlib import Path

import pytest

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
