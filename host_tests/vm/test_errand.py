"""Errands on the VM: each module is loaded as "module", and what stays of it is no more than that name."""

import re
import shutil

import pytest

from tools.build import firmware
from tools.places import FIRMWARE
from tools.stage import Stage
from tools.vboard import Image, VirtualBoard

pytestmark = pytest.mark.vm


@pytest.fixture
def said(tmp_path):
    """What a main.py prints on a board with the firmware."""

    def run(main, strip=True, without=()):
        image = Image(tmp_path / "flash").format()
        files = firmware(strip=strip, short=False, without=without)
        image.put({**files, "/main.py": b"import os, sys, firstboot\nfrom firstboot import errand\n" + main})
        return VirtualBoard(image, heap=200 * 1024).run(timeout=10).log

    return run


def test_all_have_one_name(said):
    log = said(
        b"import firstboot.link\n"
        b"def of(module):\n"
        b"    module = firstboot._load(module)\n"
        b"    return module.__name__, module.__file__\n"
        b"print(of('firstboot.backoff'), of('firstboot.trace'), of('firstboot.link.dial'))\n"
        b"print([name for name in sys.modules if name.startswith('firstboot.')], hasattr(firstboot, 'module'))\n"
        b"print(os.listdir('/'), firstboot.__path__)\n"
    )
    one = "('firstboot.module', '/_/module.mpy')"
    assert f"{one} {one} ('firstboot.link.module', '/_/module.mpy')" in log
    assert "['firstboot.link'] False" in log
    assert "['app.py', 'lib', 'main.py'] /lib/firstboot" in log


def test_one_that_is_missing_is_named(said):
    log = said(b"try:\n    errand('trace', 'trace')\nexcept ImportError as e:\n    print(e)\n", without=("trace",))
    assert "no module named 'firstboot.trace'" in log


def test_where_somebody_has_its_folder(said):
    log = said(
        b"import vfs\n"
        b"vfs.mount(vfs.VfsPosix('/'), '/_')\n"
        b"print(errand('trace', 'text', ValueError(5)))\n"
        b"print('tmp' in os.listdir('/_'))\n"
    )
    assert "ValueError: 5" in log
    assert "True" in log


def test_an_error_within_comes_out(said):
    log = said(b"try:\n    errand('backoff', 'draw', [], os.urandom)\nexcept ValueError as e:\n    print('out')\n")
    assert "out" in log


@pytest.mark.parametrize("kind", ["compiled", "source"])
def test_where_a_host_has_its_own_folder_mounted(said, tmp_path, kind):
    """As with mpremote mount; a checkout's folder has no compiled modules."""
    if kind == "source":
        shutil.copytree(FIRMWARE / "firstboot", tmp_path / "lib/firstboot")
    else:
        for place, data in firmware(strip=True, short=False).items():
            path = tmp_path / place.lstrip("/")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
    log = said(
        b"import vfs\n"
        b"del sys.modules['firstboot']\n"
        b"vfs.mount(vfs.VfsPosix('%s'), '/remote')\n"
        b"sys.path.insert(0, '/remote/lib')\n"
        b"import firstboot\n"
        b"print(firstboot.__path__, firstboot._load('firstboot.backoff'))\n"
        b"print(firstboot.errand('backoff', 'draw', [1, 1, 1], os.urandom) <= 1000)\n" % bytes(tmp_path)
    )
    loaded = "<module 'firstboot.module' from '/_/module.mpy'>" if kind == "compiled" else None
    assert f"/remote/lib/firstboot {loaded}\nTrue" in log


def test_a_config_that_needs_a_slice_which_was_left_out():
    with Stage("coap", without=("link/coap",)) as stage:
        run = stage.board(stage.image()).run("config: waiting for config.json to change")
    assert run.ended == "found", run.log
    assert "config.json needs more than is on this board: no module named 'firstboot.link.coap'" in run.log


APP = b"""
import micropython
count = 0

def read():
    global count
    count += 1
    if count == 2:
        micropython.qstr_info()
    return {"heap_free": 1}
"""


@pytest.mark.parametrize("kind", ["ESP32_GENERIC", "RPI_PICO_W"])
@pytest.mark.parametrize("frozen", [False, True], ids=["mpy", "frozen"])
@pytest.mark.parametrize(("transport", "tls"), [("mqtt", False), ("mqtt", True), ("http", True), ("coap", True)])
def test_names(transport, tls, frozen, kind):
    """tools/measure.py counts the pools that a port has for so many."""
    with Stage(transport, tls, frozen=frozen, files={"/app.py": APP}) as stage:
        image = stage.image()
        image.put({"/main.py": b"import micropython\nmicropython.qstr_info()\n"})
        (before,) = _counts(stage.board(image, kind=kind).run())
        image = stage.image()
        for _ in range(2):  # a first boot, and a second
            (after,) = _counts(stage.board(image, kind=kind).run(r"n_qstr=\d+.*"))
            # Names that the virtual board has, too, and that are not in a port's ROM: seven.
            assert (0 if frozen else 20) < after - before < stage.names - 7
            # No pool of MicroPython's is opened in the firmware's share: what there is holds 300 names, then 620.
            assert before > 300 and after <= 620


def _counts(run):
    return map(int, re.findall(r"n_qstr=(\d+)", run.log))
