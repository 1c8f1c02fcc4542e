"""`firstboot update`: packages of the user's app, and their way to the stand-in through ThingsBoard's own client."""

import io
import tarfile
from pathlib import Path

import pytest
from said import error, good
from typer.testing import CliRunner

from tools import cli
from tools.build import compile_file
from tools.checksums import checksum
from tools.standin import Standin

APP = "def read():\n    return {'answer': 42}\n"
IMAGE = b"\xe9" + bytes(range(255)) * 20


@pytest.fixture
def server():
    with Standin() as standin:
        standin.add_profile()
        standin.add_device("board-1", standin.registry.profile(name="boards"), "token-1")
        standin.add_device("board-2", standin.registry.profile(name="boards"), "token-2")
        yield standin


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """An empty folder to work in."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def run(folder, monkeypatch):
    """`firstboot update ARGS`."""
    monkeypatch.setenv("FIRSTBOOT_PASSWORD", "tenant")
    for name in ("FIRSTBOOT_SERVER", "FIRSTBOOT_USER", "FIRSTBOOT_API_KEY"):
        monkeypatch.delenv(name, raising=False)

    def run(*args, **more):
        return CliRunner().invoke(cli.app, ["update", *args], **more)

    return run


@pytest.fixture
def at(run, server):
    """The same, at the stand-in."""
    return lambda *args: run(*args, "--server", f"http://{server.host}:{server.http_port}")


@pytest.fixture
def package(run, folder):
    """The path of a package with an app in it."""
    (folder / "app.py").write_text(APP)
    good(run("pack", "app.py", "--json"))
    return "update.tar"


def push(at, file, version="1", *more, title="app", profile="boards"):
    return at("push", str(file), "--title", title, "--version", version, "--profile", profile, *more, "--json")


def unpacked(path="update.tar"):
    with tarfile.open(path, "r:") as tar:
        return {member.name: tar.extractfile(member).read() for member in tar}


# Packing


def write_project(folder):
    for name, text in {
        "app.py": APP,
        "wide.py": "x = 1\n",
        "drivers/__init__.py": "",
        "drivers/bme280.py": "def t():\n    return 1\n",
        "drivers/table.bin": "0123",
        "drivers/__pycache__/bme280.cpython-311.pyc": "x",
        "drivers/.git/config": "x",
    }.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)


def test_an_app_and_its_modules(run, folder):
    write_project(folder)
    told = good(run("pack", "wide.py", "drivers", "app.py", "--json"))
    names = ["app.mpy", "drivers/__init__.mpy", "drivers/bme280.mpy", "drivers/table.bin", "wide.mpy"]
    assert [one["name"] for one in told["files"]] == names
    files = unpacked()
    assert list(files) == names
    assert files["app.mpy"] == compile_file(folder / "app.py", "app.py")
    assert files["drivers/table.bin"] == b"0123"
    assert (told["path"], told["size"]) == ("update.tar", Path("update.tar").stat().st_size)


def test_source_stays_as_it_is(run, folder):
    write_project(folder)
    good(run("pack", "app.py", "drivers/", "--source", "-o", "source.tar", "--json"))
    files = unpacked("source.tar")
    assert files["app.py"].decode() == APP
    assert "drivers/bme280.py" in files


def test_the_same_files_make_the_same_bytes(run, folder):
    write_project(folder)
    good(run("pack", "app.py", "drivers", "-o", "a.tar", "--json"))
    for path in folder.rglob("*.py"):
        path.touch(0o600)
    good(run("pack", "drivers", "app.py", "-o", "b.tar", "--json"))
    data = Path("a.tar").read_bytes()
    assert data == Path("b.tar").read_bytes()
    assert data[257:263] == b"ustar\0"
    assert data[-1024:] == bytes(1024)
    with tarfile.open("a.tar") as tar:
        for member in tar:
            assert (member.mtime, member.uid, member.gid, member.uname, member.mode) == (0, 0, 0, "", 0o644)
        # No more than the format needs: a board has to fetch it all.
        assert tar.offset <= len(data) == member.offset_data + (member.size + 511) // 512 * 512 + 1024


def test_the_package_itself_is_not_packed(run, folder):
    write_project(folder)
    (folder / "drivers" / "app.py").write_text(APP)
    for _ in range(2):
        good(run("pack", "app.py", "drivers", "-o", "drivers/update.tar", "--json"))
    assert "drivers/update.tar" not in unpacked("drivers/update.tar")


def test_a_person_sees_what_is_in_it(run, package):
    said = run("pack", "app.py", "-o", "again.tar")
    assert said.exit_code == 0
    assert "app.mpy" in said.stdout and "again.tar: 2" in said.stdout


@pytest.mark.parametrize(
    ("files", "arguments", "message"),
    [
        ({"other.py": ""}, ["other.py"], "app.py is not among the files"),
        ({"project/app.py": APP}, ["project"], "app.py is not among the files"),
        ({"app.py": APP, "main.py": ""}, ["app.py", "main.py"], "firstboot itself comes with the firmware"),
        ({"app.py": APP, "boot.mpy": ""}, ["app.py", "boot.mpy"], "firstboot itself comes with the firmware"),
        ({"app.py": APP, "firstboot/log.py": ""}, ["app.py", "firstboot"], "firstboot itself comes with the firmware"),
        ({"app.py": APP, "lib/firstboot/x.py": ""}, ["app.py", "lib"], "firstboot itself comes with the firmware"),
        ({"app.py": "def read(:\n"}, ["app.py"], "app.py does not compile"),
        ({"app.py": "def read(:\n"}, ["app.py", "--source"], "app.py does not compile"),
        ({"app.py": APP, "app.mpy": "x"}, ["app.py", "app.mpy"], "two files would be app.mpy"),
        ({"app.py": APP}, ["app.py", "nothing.py"], "nothing.py can't be read"),
        ({"app.py": APP}, ["app.py", "-o", "no/update.tar"], "can't be written"),
        ({"app.py": APP, "d/" + "x" * 99: ""}, ["app.py", "d"], "is longer than 100 bytes"),
    ],
)
def test_what_can_t_be_packed(run, folder, files, arguments, message):
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    assert message in error(run("pack", *arguments, "--json"))["message"]
    assert not Path("update.tar").exists()


# Pushing


def test_a_profile_s_boards_get_it(at, server, package):
    told = good(push(at, package, "1.3", "--tag", "app stable"))
    data = Path(package).read_bytes()
    assert (told["uploaded"], told["checksum"]) == (True, checksum("SHA256", data))
    for name in ("board-1", "board-2"):
        assert server.attributes(name, "SHARED_SCOPE") == {
            "sw_title": "app",
            "sw_version": "1.3",
            "sw_tag": "app stable",
            "sw_size": len(data),
            "sw_checksum": told["checksum"],
            "sw_checksum_algorithm": "SHA256",
        }
    (stored,) = server.registry.packages()
    assert (stored.data, stored.filename) == (data, "update.tar")


def test_nothing_else_of_the_profile_changes(at, server, package):
    alarms = [{"id": "1", "alarmType": "Hot", "whatTheClientDoesNotKnow": True}]
    server.add_profile("alarmed", key="a", info={"description": "kept", "profileData": {"alarms": alarms}})
    good(push(at, package, profile="alarmed"))
    profile = server.registry.profile(name="alarmed")
    assert (profile.info["description"], profile.info["profileData"]["alarms"]) == ("kept", alarms)
    assert (profile.key, profile.secret, profile.strategy) == (
        "a",
        "profile-secret",
        "ALLOW_CREATE_NEW_DEVICES",
    )


def test_one_board_gets_it_first(at, server, package):
    good(push(at, package, "1", "--device", "board-2"))
    assert server.attributes("board-1", "SHARED_SCOPE") == {}
    assert server.attributes("board-2", "SHARED_SCOPE")["sw_version"] == "1"
    assert server.device("board-2").credentials.id == "token-2"
    # Then all of them: the package is there already.
    assert good(push(at, package))["uploaded"] is False
    assert server.attributes("board-1", "SHARED_SCOPE")["sw_version"] == "1"


@pytest.mark.parametrize("algorithm", ["MD5", "CRC32"])
def test_firmware(at, server, folder, algorithm):
    Path("micropython.bin").write_bytes(IMAGE)
    told = good(push(at, "micropython.bin", "2", "--kind", "fw", "--checksum", algorithm, title="firstboot"))
    assert told["checksum"] == checksum(algorithm, IMAGE)
    assert server.attributes("board-1", "SHARED_SCOPE")["fw_checksum_algorithm"] == algorithm


def test_a_push_that_broke_off_goes_on(at, server, package):
    profile = server.registry.profile(name="boards")
    made = server.add_package("sw", "app", "1", None)
    made.profile = profile.id
    server.registry.change_package(made)
    assert good(push(at, package))["id"] == made.id
    assert server.registry.package(made.id).data == Path(package).read_bytes()


def test_what_can_t_be_pushed(at, server, package, folder):
    Path("boot.bin").write_bytes(b"\x7fELF")
    assert "no application image" in error(push(at, "boot.bin", "1", "--kind", "fw"))["message"]
    assert "no application image" in error(push(at, package, "1", "--kind", "fw"))["message"]
    Path("image.bin").write_bytes(IMAGE)
    assert "is no tar" in error(push(at, "image.bin"))["message"]
    with tarfile.open("other.tar", "w") as tar:
        info = tarfile.TarInfo("lib/app.py")
        tar.addfile(info, io.BytesIO())
    assert "has no app.py" in error(push(at, "other.tar"))["message"]
    assert "can't be read" in error(push(at, "nothing.tar"))["message"]
    assert "no device profile 'none'" in error(push(at, package, profile="none"))["message"]
    assert "no device 'board-3'" in error(push(at, package, "1", "--device", "board-3"))["message"]
    server.add_profile("others", key="other")
    said = error(push(at, package, "1", "--device", "board-1", profile="others"))
    assert "not of the profile 'others'" in said["message"]
    assert server.registry.packages() == []


def test_a_version_is_of_one_content(at, server, package, folder):
    good(push(at, package))
    Path("app.py").write_text(APP.replace("42", "43"))
    assert CliRunner().invoke(cli.app, ["update", "pack", "app.py", "-o", "next.tar"]).exit_code == 0
    said = error(push(at, "next.tar"))
    assert "with another content" in said["message"] and "--version" in said["hint"]
    Path("image.bin").write_bytes(IMAGE)
    assert "of another kind" in error(push(at, "image.bin", "1", "--kind", "fw"))["message"]
    server.add_package("sw", "app", "far", None, url="https://example.org/", profile="boards")
    assert "by URL" in error(push(at, "next.tar", "far"))["message"]
    assert good(push(at, "next.tar", "2"))["uploaded"] is True


def test_misuse_is_2(run, package):
    names = ["--title", "app", "--version", "1", "--profile", "boards"]
    assert run("push", package, *names, "--kind", "hw").exit_code == 2
    assert run("push", package, *names, "--checksum", "SHA1").exit_code == 2
    assert run("push", package, "--title", "app").exit_code == 2
    assert run("pack").exit_code == 2


def test_a_person_reads_what_happens_next(at, server, package):
    said = at("push", package, "--title", "app [x]", "--version", "1", "--profile", "boards")
    assert said.exit_code == 0
    assert said.stdout == "app [x] 1 is assigned to the boards of boards\n"
    assert "firstboot update show" in said.stderr


# Showing


def test_how_boards_get_on(at, server, package):
    good(push(at, package))
    later = 1 << 42
    said = {"sw_state": "FAILED", "sw_error": "checksum", "current_sw_title": "app", "current_sw_version": "0.9"}
    board = server.device("board-1").id
    server.registry.add_series(board, [(key, later, value) for key, value in said.items()])
    server.add_device("board-3", server.add_profile("others", key="other"), "token-3")
    told = good(at("show", "--json"))
    assert [(p["kind"], p["title"], p["version"], p["profile"], p["assigned"]) for p in told["packages"]] == [
        ("sw", "app", "1", "boards", True)
    ]
    first, second, third = told["devices"]
    assert first == {
        "name": "board-1",
        "profile": "boards",
        "fw": None,
        "sw": {
            "state": "FAILED",
            "error": "checksum",
            "title": "app",
            "version": "0.9",
            "target_title": "app",
            "target_version": "1",
        },
    }
    assert (second["sw"]["state"], second["sw"]["version"], second["sw"]["error"]) == ("INITIATED", None, None)
    assert (third["fw"], third["sw"]) == (None, None)
    # An error is of the update that failed, and no longer of the next one.
    server.registry.add_series(board, [("sw_state", later + 1, "DOWNLOADING")])
    assert good(at("show", "--device", "board-1", "--json"))["devices"][0]["sw"]["error"] is None


def test_a_person_sees_tables(at, server, package):
    good(push(at, package, "1", "--device", "board-2"))
    said = at("show")
    assert said.exit_code == 0
    lines = [" ".join(line.split()) for line in said.stdout.splitlines()]
    assert f"sw app 1 boards {Path(package).stat().st_size} bytes" in lines
    assert "board-1" in lines
    assert "board-2 sw app 1 INITIATED" in lines


def test_only_some_boards(at, server):
    server.add_device("board-3", server.add_profile("others", key="other"), "token-3")
    for args, names in (
        (("--profile", "others"), ["board-3"]),
        (("--device", "board-2"), ["board-2"]),
    ):
        assert [one["name"] for one in good(at("show", *args, "--json"))["devices"]] == names
    assert "no device profile" in error(at("show", "--profile", "nobody's", "--json"))["message"]
    assert "no device 'board'" in error(at("show", "--device", "board", "--json"))["message"]
    assert (
        "of the profile 'others'"
        in error(at("show", "--device", "board-1", "--profile", "others", "--json"))["message"]
    )
