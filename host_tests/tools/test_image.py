"""`firstboot image`: what this computer lays is mounted and booted by MicroPython's own littlefs."""

import contextlib
import hashlib
import io
import json
import struct
import subprocess
import sys
from pathlib import Path

import pytest
from adafruit_uf2 import uf2conv
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from tools import boards, cli
from tools.build import firmware
from tools.image import ImageError, chip_of, find, lay, listing, split, uf2
from tools.vboard import Image, VirtualBoard
from tools.vm import find as find_vm

ROOT = Path(__file__).resolve().parents[2]
KIB = 1024

# A block device as the port's: MicroPython's own littlefs mounts the file, lists it, and writes to it.
MOUNT = """
import json, sys, vfs
from hashlib import sha256
from binascii import hexlify
class Flash:
    def __init__(self, path, size):
        self.file = open(path, "r+b")
        self.blocks = size // 4096
    def readblocks(self, n, buffer, offset=0):
        self.file.seek(n * 4096 + offset)
        self.file.readinto(buffer)
    def writeblocks(self, n, buffer, offset=0):
        self.file.seek(n * 4096 + offset)
        self.file.write(buffer)
    def ioctl(self, operation, argument):
        if operation == 4:
            return self.blocks
        if operation == 5:
            return 4096
        if operation == 6:
            self.file.seek(argument * 4096)
            self.file.write(b"\\xff" * 4096)
            return 0
flash = Flash(sys.argv[1], int(sys.argv[2]))
fs = vfs.VfsLfs2(flash, progsize=int(sys.argv[3]))
found = {}
def walk(folder):
    for name, kind, *_ in fs.ilistdir(folder):
        path = folder + "/" + name
        if kind == 0x4000:
            walk(path)
        else:
            with fs.open(path, "rb") as f:
                found[path] = hexlify(sha256(f.read()).digest()).decode()
walk("")
with fs.open("/written", "wb") as f:
    f.write(b"x" * 9000)
vfs.mount(flash, "/flash")  # as the ESP32 does: it finds out by itself what file system it is
print(json.dumps(found))
"""


@pytest.fixture
def run(tmp_path, monkeypatch):
    """`firstboot image ARGS` in a folder with a config of a fleet on loopback."""
    monkeypatch.chdir(tmp_path)
    write_config(1883)

    def run(*args):
        return CliRunner().invoke(cli.app, ["image", *args])

    return run


def write_config(port, **more):
    config = {
        "wifi": {"ssid": "lab", "password": "lab-password"},
        "server": {"host": "127.0.0.1", "port": port},
        "provision": {"key": "profile-key", "secret": "profile-secret"},
        "period": 0.1,
        **more,
    }
    Path("config.json").write_text(json.dumps(config))


def made(run, *args):
    said = run("make", *args, "--json")
    assert said.exit_code == 0, said.output
    return json.loads(said.stdout)


def filesystem_of(name, board):
    """The file system in a factory file, as long as it is on the board."""
    flash, _ = split(Path(name).read_bytes())
    return flash[find(flash) :].ljust(board.fs.size, b"\xff")[: board.fs.size]


@pytest.mark.vm
@pytest.mark.parametrize("name", boards.names())
def test_a_board_boots_from_it(run, standin, name):
    """Host-made image, MicroPython's littlefs, a first boot: provisioned, telemetry, identity written."""
    write_config(standin.mqtt_port)
    result = made(run, name)
    board = boards.load(name)
    Path("flash").write_bytes(filesystem_of(result["path"], board))
    ran = VirtualBoard(Image("flash"), name).run("telemetry: acknowledged", 30)
    assert ran.ended == "found", ran.log
    (device,) = standin.devices()
    assert standin.telemetry(device.name)
    again = VirtualBoard(Image("flash"), name).run("telemetry: acknowledged", 30)
    assert again.ended == "found" and again.has("identity: verified"), again.log
    assert len(standin.provision_requests) == 1


@pytest.mark.vm
@pytest.mark.parametrize("name", boards.names())
def test_micropythons_littlefs_mounts_it_as_the_port_does(run, name):
    board = boards.load(name)
    Path("flash").write_bytes(filesystem_of(made(run, name)["path"], board))
    vm = [*find_vm().command, "-c", MOUNT]
    said = subprocess.run([*vm, "flash", str(board.fs.size), str(board.prog)], capture_output=True, timeout=60)
    assert said.returncode == 0, said.stderr
    expected = {**firmware(strip=True), "/config.json": Path("config.json").read_bytes()}
    assert json.loads(said.stdout) == {p: hashlib.sha256(d).hexdigest() for p, d in expected.items()}


def test_the_same_input_gives_the_same_bytes(run):
    for name in ("RPI_PICO_W", "ESP32_GENERIC"):
        first = made(run, name, "-o", "first")
        code = "from tools.cli import app; app()"  # another process: another hash seed, another day
        args = [sys.executable, "-c", code, "image", "make", name, "-o", "second", "--json"]
        env = {"PYTHONPATH": str(ROOT), "PYTHONHASHSEED": "7", "TZ": "Asia/Tokyo", "HOME": str(Path.home())}
        again = subprocess.run(args, capture_output=True, env=env, timeout=60)
        assert json.loads(again.stdout)["sha256"] == first["sha256"]
        assert Path("first").read_bytes() == Path("second").read_bytes()


def test_it_is_for_its_owner_only(run):
    Path("out.bin").write_bytes(b"")
    Path("out.bin").chmod(0o644)
    made(run, "ESP32_GENERIC", "-o", "out.bin")
    assert Path("out.bin").stat().st_mode & 0o777 == 0o600


def test_uf2_blocks(run):
    """Every field of every block, and what another parser reads of it."""
    board = boards.load("RPI_PICO_W")
    data = Path(made(run, "RPI_PICO_W")["path"]).read_bytes()
    count = len(data) // 512
    addresses = []
    for number in range(count):
        block = data[number * 512 : number * 512 + 512]
        start, second, flags, address, size, index, total, family = struct.unpack_from("<8I", block)
        assert (start, second, block[-4:]) == (0x0A324655, 0x9E5D5157, bytes.fromhex("306fb10a"))
        assert (flags, size, index, total, family) == (0x2000, 256, number, count, 0xE48BFF56)
        assert block[32 + 256 : -4] == bytes(512 - 32 - 256 - 4)
        addresses.append(address)
    assert addresses == sorted(set(addresses))
    assert addresses[0] == 0x10000000 + board.fs.offset
    assert addresses[-1] < 0x10000000 + board.flash_size
    # Whole sectors: the boot ROM erases 4 KiB for the first page that it gets of them.
    sectors = {address // 4096 for address in addresses}
    assert len(addresses) == 16 * len(sectors)

    flash, address = split(data)
    with contextlib.redirect_stdout(io.StringIO()) as told:
        theirs = uf2conv.convert_from_uf2(data)
    assert "Family ID is RP2040" in told.getvalue()
    assert f"0x{address:08x}" in told.getvalue()
    filled = [(at, flash[at : at + 4096]) for at in range(0, len(flash), 4096)]
    written = [(at, sector) for at, sector in filled if 0x10000000 // 4096 + (at + board.fs.offset) // 4096 in sectors]
    assert all(theirs[at : at + 4096] == sector for at, sector in written)
    assert all(sector == b"\xff" * 4096 for at, sector in filled if (at, sector) not in written)


@given(st.binary(min_size=1, max_size=5000), st.integers(0, 100), st.sampled_from(sorted(uf2.FAMILIES)))
def test_uf2_comes_back(data, page, family):
    address = 0x10000000 + page * 256
    (segment,) = uf2.decode(uf2.encode([uf2.Segment(family, address, data)]))
    assert (segment.family, segment.address) == (family, address)
    assert segment.data == data.ljust(-(-len(data) // 256) * 256, b"\xff")


@pytest.mark.parametrize(("flags", "address"), [(0xA000, 0x10FFFF00), (0xA000, 0x101FFF00), (0x2000, 0x10FFFF00)])
def test_the_block_for_the_rp2350s_erratum_is_left_out(flags, address):
    """picotool puts it in front: one block of two, of another family; older ones without the mark."""
    head = struct.pack("<8I", 0x0A324655, 0x9E5D5157, flags, address, 256, 0, 2, 0xE48BFF57)
    block = (head + b"\xef" * 256 + struct.pack("<I", 0x9957E304)).ljust(508, b"\0") + struct.pack("<I", 0x0AB16F30)
    theirs = uf2.Segment(0xE48BFF59, 0x10000000, b"\x01" * 512)
    assert uf2.decode(block + uf2.encode([theirs])) == [theirs]
    assert chip_of(block + uf2.encode([theirs])) == "rp2350"


@pytest.mark.parametrize(
    ("tamper", "said"),
    [
        (lambda d: d[:-512], "missing"),
        (lambda d: d[:-100], "not a UF2"),
        (lambda d: d[512:], "missing"),
        (lambda d: d + d[:512], "can't be"),
        (lambda d: d[:1020] + b"\0\0\0\0" + d[1024:], "damaged"),
        (lambda d: d[:16] + b"\xff\xff\xff\x7f" + d[20:], "damaged"),
        (lambda d: b"", "no littlefs"),
    ],
    ids=["cut block", "cut", "first gone", "doubled", "end mark", "payload size", "empty"],
)
def test_a_damaged_uf2_is_told(run, tamper, said):
    path = Path(made(run, "RPI_PICO_W")["path"])
    path.write_bytes(tamper(path.read_bytes()))
    answer = run("inspect", str(path))
    assert answer.exit_code == 1
    assert said in answer.stderr


@pytest.mark.parametrize("name", boards.names())
def test_inspect_lists_what_is_in_it(run, name):
    Path("drivers").mkdir()
    Path("drivers/sht31.py").write_text("ADDRESS = 0x44\n")
    result = made(run, name, "--file", "drivers:/lib/drivers")
    said = run("inspect", result["path"], "--json")
    found = json.loads(said.stdout)
    assert {one["path"]: one["bytes"] for one in found["files"]} == result["files"]
    assert name in found["boards"]
    hashes = {one["path"]: one["sha256"] for one in found["files"]}
    assert hashes["/lib/drivers/sht31.py"] == hashlib.sha256(b"ADDRESS = 0x44\n").hexdigest()
    assert hashes["/config.json"] is None
    shown = run("inspect", result["path"])
    assert "secret" in shown.stdout and "profile-secret" not in shown.output + said.output


def test_inspect_reads_a_dump_of_a_whole_flash(run):
    board = boards.load("ESP32_GENERIC")
    data = Path(made(run, board.name)["path"]).read_bytes()
    Path("dump.bin").write_bytes(b"\xe9" + bytes(board.fs.offset - 1) + data)
    found = json.loads(run("inspect", "dump.bin", "--json").stdout)
    assert found["offset"] == board.fs.offset
    assert board.name in found["boards"]


def esp(chip, size=1000):
    return b"\xe9\x03\x02\x20".ljust(12, b"\0") + struct.pack("<H", chip) + bytes(size)


def test_with_micropython_in_front(run):
    """One file for a blank board: the firmware at its place, the file system at its own."""
    board = boards.load("ESP32_GENERIC")
    Path("mp.bin").write_bytes(esp(0))
    result = made(run, board.name, "--micropython", "mp.bin")
    data = Path(result["path"]).read_bytes()
    assert result["offset"] == 0x1000
    assert data.startswith(esp(0))
    assert find(data) == board.fs.offset - 0x1000

    pico = boards.load("RPI_PICO_W")
    theirs = [uf2.Segment(0xE48BFF56, 0x10000000, b"\x01" * 70000)]
    Path("mp.uf2").write_bytes(uf2.encode(theirs))
    data, address = split(Path(made(run, pico.name, "--micropython", "mp.uf2")["path"]).read_bytes())
    assert address == 0x10000000
    assert data[:70000] == theirs[0].data
    assert find(data) == pico.fs.offset


WRONG = [
    ("ESP32_GENERIC", esp(9), "esp32s3, not for esp32"),
    ("ESP32_GENERIC", b"", "no chip"),
    ("ESP32_GENERIC", uf2.encode([uf2.Segment(0xE48BFF56, 0x10000000, b"x")]), "rp2040, not for esp32"),
    ("ESP32_GENERIC", esp(0, 0x200000), "bytes too large"),
    ("RPI_PICO_W", esp(0), "esp32, not for rp2040"),
    ("RPI_PICO_W", uf2.encode([uf2.Segment(0xE48BFF59, 0x10000000, b"x")]), "rp2350, not for rp2040"),
    ("RPI_PICO_W", uf2.encode([uf2.Segment(0xE48BFF56, 0x1012C000, b"x")]), "reaches into"),
    ("RPI_PICO2_W", uf2.encode([uf2.Segment(0xE48BFF59, 0x10000000, b"x")]), "two files"),
]


@pytest.mark.parametrize(("name", "firmware", "said"), WRONG, ids=[said for _, _, said in WRONG])
def test_the_wrong_micropython_is_refused(run, name, firmware, said):
    Path("mp").write_bytes(firmware)
    answer = run("make", name, "--micropython", "mp", "--json")
    assert answer.exit_code == 1
    assert said in json.loads(answer.stdout)["error"]["message"]
    assert not list(Path().glob("firstboot-*"))


def test_too_large_for_the_partition(run):
    Path("map.bin").write_bytes(bytes(range(256)) * 3400)  # 850 KiB
    answer = run("make", "RPI_PICO_W", "--file", "map.bin")
    assert answer.exit_code == 1
    assert "don't fit a file system of 868352 bytes" in answer.stderr
    made(run, "ESP32_GENERIC", "--file", "map.bin")


def test_room_is_left_for_the_board_itself():
    size = 64 * KIB
    lay({"/a": bytes(20 * KIB)}, size, 32)
    with pytest.raises(ImageError, match="room for the board's own"):
        lay({"/a": bytes(40 * KIB)}, size, 32)


def test_with_firstboot_frozen_into_micropython(run):
    files = made(run, "ESP32_GENERIC", "--frozen")["files"]
    assert set(files) == {"/main.py", "/app.py", "/config.json"}


def test_a_larger_flash_has_a_larger_file_system(run):
    made(run, "ESP32_GENERIC", "--flash-size", "8MB", "-o", "out")
    assert Path("out").stat().st_size == 6 * KIB * KIB
    for board, size in (("ESP32_GENERIC", "big"), ("ESP32_GENERIC_S3", "2MB"), ("ESP32_GENERIC_S3", "2049KB")):
        assert run("make", board, "--flash-size", size).exit_code == 2, size
    assert run("make", "RPI_PICO_W", "--flash-size", "1MB").exit_code == 2


@pytest.mark.parametrize(
    ("given", "place"),
    [
        ("extra.py", "/extra.py"),
        ("extra.py:/lib/other.py", "/lib/other.py"),
        ("extra.py:lib//./other.py", "/lib/other.py"),
        ("extra.py:/lib", "/lib/extra.py"),  # a folder already: firstboot is in it
        ("extra.py:lib", "/lib/extra.py"),
        ("extra.py:/new/", "/new/extra.py"),
        ("extra.py:/", "/extra.py"),
        ("folder", "/folder/extra.py"),
        ("folder:/lib", "/lib/extra.py"),
        ("folder:/lib/", "/lib/extra.py"),
        ("folder:/", "/extra.py"),
    ],
)
def test_where_a_further_file_goes(run, given, place):
    Path("folder").mkdir()
    for path in (Path("extra.py"), Path("folder/extra.py")):
        path.write_text("extra = True\n")
    before = made(run, "RPI_PICO_W")["files"]
    assert set(made(run, "RPI_PICO_W", "--file", given)["files"]) - set(before) == {place}


@pytest.mark.parametrize(
    ("place", "says"),
    [("/../x", "there is no .."), ("..", "there is no .."), ("/app.py/x", "/app.py is a file"), ("x" * 300, "laid")],
)
def test_where_no_file_can_go(run, place, says):
    Path("extra.py").write_text("extra = True\n")
    said = run("make", "RPI_PICO_W", "--file", f"extra.py:{place}", "--json")
    assert said.exit_code == 1
    assert says in json.loads(said.stdout)["error"]["message"]


def test_what_a_board_could_not_start_with_is_told_here(run):
    assert run("make", "ESP8266").exit_code == 2
    Path("bad.py").write_text("def read(:\n")
    said = run("make", "RPI_PICO_W", "--app", "bad.py").stderr
    assert 'bad.py does not compile: File "bad.py", line 1, SyntaxError' in said and "Traceback" not in said
    write_config(1883, tls={"enabled": True})
    answer = run("make", "RPI_PICO_W")
    assert answer.exit_code == 1 and "tls.ca: there is no ca.der" in answer.stderr
    Path("ca.der").write_text("-----BEGIN CERTIFICATE-----")
    assert "not DER" in run("make", "RPI_PICO_W").stderr
    Path("ca.der").write_bytes(b"\x30\x82")
    assert "/ca.der" in made(run, "RPI_PICO_W")["files"]
    write_config("1883")
    assert "server.port" in run("make", "RPI_PICO_W").stderr


@settings(deadline=None)
@given(st.binary(max_size=300), st.integers(0, 40000))
def test_a_broken_file_system_is_an_error_and_no_more(junk, at):
    data = bytearray(lay({"/a/b": b"x" * 5000, "/c": b"y" * 100}, 64 * KIB, 32))
    data[at : at + len(junk)] = junk
    start = find(bytes(data))
    if start is not None:
        with contextlib.suppress(ImageError):
            listing(bytes(data), start)
