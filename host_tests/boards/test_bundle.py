"""The compiled bundle: the same for every supported release, the same each time, installed by mip, and it boots."""

import hashlib
import json
import zipfile

import pytest

from tools import bundle
from tools.build import firmware
from tools.places import FIRMWARE, version
from tools.stage import Stage
from tools.vboard import Image, VirtualBoard
from tools.versions import MPY_CROSS, NEWEST, OLDEST


@pytest.fixture(scope="module")
def made():
    return bundle.bundles()


def test_one_bundle_serves_every_release(made):
    name = f"firstboot-{version()}-mpy6.3"
    assert list(made) == [name]
    assert f"MicroPython {OLDEST} to {NEWEST}" in made[name]["README.txt"].decode()
    assert len(MPY_CROSS) == 7


def test_releases_that_compile_otherwise_get_a_bundle_of_their_own(monkeypatch):
    monkeypatch.setattr(bundle, "_compiled", lambda release: {"firstboot/__init__.mpy": release[:4].encode()})
    names = list(bundle.bundles(["1.28.0", "1.29.0"]))
    assert [name.partition("-mpy")[2] for name in names] == ["6.3-micropython-1.28.0", "6.3-micropython-1.29.0"]


def test_it_is_reproducible(made, tmp_path):
    digests = set()
    for folder in ("a", "b"):
        for name, files in (bundle.bundles([OLDEST]) if folder == "b" else made).items():
            again = {**files, "README.txt": b""}
            digests.add(hashlib.sha256(bundle.write(again, tmp_path / folder / name).read_bytes()).hexdigest())
    assert len(digests) == 1


def test_the_zip_file_holds_the_folder(made, tmp_path):
    ((name, files),) = made.items()
    path = bundle.write(files, tmp_path / name)
    with zipfile.ZipFile(path) as archive:
        assert {entry: archive.read(entry) for entry in archive.namelist()} == {
            f"{name}/{place}": data for place, data in files.items()
        }
        assert {entry.date_time for entry in archive.infolist()} == {(1980, 1, 1, 0, 0, 0)}
    assert {str(p.relative_to(tmp_path / name)) for p in (tmp_path / name).rglob("*") if p.is_file()} == set(files)


def test_the_code_is_what_virtual_boards_run(made):
    (files,) = made.values()
    on_boards = {path: data for path, data in firmware(strip=True).items() if path.startswith("/lib/")}
    assert {f"/{place}": data for place, data in files.items() if place.startswith("lib/")} == on_boards


def test_the_readmes_quick_start_goes_by_the_bundle(made):
    ((name, files),) = made.items()
    text = (FIRMWARE.parent / "README.md").read_text().partition("## Quick start")[2].partition("\n## ")[0]
    lines = [line.partition("#")[0].strip() for line in text.splitlines() if line.startswith("    ")]
    steps = ["make bundle", ". .venv/bin/activate", f"cd build/{name}", "firstboot config write"]
    by_hand = "mpremote cp -r lib main.py app.py config.json :"
    by_mip = ["mpremote mip install package.json", "mpremote cp main.py app.py config.json :"]
    steps += [by_hand, *by_mip]
    assert [line for line in lines if line in steps] == steps
    there = {*files, "config.json"} | {place.partition("/")[0] for place in files}
    for line in (by_hand, *by_mip):
        named = [word for word in line.split() if "." in word or word == "lib"]
        assert set(named) <= there


def test_mip_installs_the_bundle_and_the_board_boots(made, tmp_path, install):
    ((name, files),) = made.items()
    bundle.write(files, tmp_path / name)
    with Stage() as stage:
        image = Image(tmp_path / "mip.img").format()
        image.put({"/config.json": json.dumps(stage.config).encode()})
        board = VirtualBoard(image)
        board.serial()
        with board:
            done = install(board, tmp_path / name / "package.json")
        assert done.returncode == 0, done.stdout + done.stderr
        assert {path for path in image.ls() if path.startswith("/lib/firstboot")} == {
            f"/{place}" for place in files if place.startswith("lib/firstboot")
        }
        image.put({f"/{name}": (FIRMWARE / name).read_bytes() for name in ("main.py", "app.py")})
        run = stage.board(image).run("telemetry: acknowledged", timeout=60)
        assert run.ended == "found", run.log
