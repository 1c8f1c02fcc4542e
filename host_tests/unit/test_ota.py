"""Updates: what the server has assigned, the archive, the trial, and what a boot makes of update.json."""

import hashlib
import importlib
import json
import os
import sys
import tarfile
from types import SimpleNamespace

import esp32
import machine
import pytest
from firstboot.ota import chip, digest, fetch, files, look, trial

from .packages import crc, tar

state = importlib.import_module("firstboot.ota.state")  # the others have let go of it

CONFIG = {"ota.check": 60, "transport": "mqtt"}
APP = {"app.py": b"x = 2\n", "lib/deep/more.py": b"y = 3\n", "empty": b""}


@pytest.fixture(autouse=True)
def path(monkeypatch):
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setattr(os, "statvfs", lambda path: (4096, 4096, 200, 100), raising=False)


def put(data, name="update.part"):
    with open(name, "wb") as f:
        f.write(data)


def unpacked(folder="update.1"):
    found = {}
    for at, _, names in os.walk(folder):
        for name in names:
            place = os.path.join(at, name)
            with open(place, "rb") as f:
                found[os.path.relpath(place, folder)] = f.read()
    return found


def whole(slot=None):
    """The archive in update.part, all of it."""
    return files.Target({"slot": slot}, os.stat("update.part")[6])


# The archive


@pytest.mark.parametrize("form", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_an_archive_is_unpacked(form):
    put(tar({"lib": None, "./" + "x.txt": b"z" * 1300, **APP}, form, mtime=1.5 if form == tarfile.PAX_FORMAT else 1))
    assert whole().install() == (1, None)
    assert unpacked() == {**APP, "x.txt": b"z" * 1300}


def test_folders_in_turn_and_the_old_one_goes_first():
    for slot, other in ((None, 1), (1, 0), (0, 1)):
        put(tar(APP))
        os.makedirs(f"update.{other}/left/over", exist_ok=True)
        put(b"old", f"update.{other}/left/over/file")
        assert whole(slot).install()[0] == other
        assert unpacked(f"update.{other}") == APP


def long_prefix():
    return tar({"a" * 90 + "/" + "b" * 90 + "/c.py": b"1"})


def test_a_name_in_two_parts():
    put(long_prefix())
    whole().install()
    assert list(unpacked()) == ["a" * 90 + "/" + "b" * 90 + "/c.py"]


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"\xe9" + b"no archive" * 100, "this is not a TAR archive"),
        (tar(APP)[: 512 + 3], "the archive ends in the middle of update.1/app.py"),
        (tar({"../main2.py": b""}), r"\.\./main2\.py in the archive is no name of a file"),
        (tar({"a/../../b": b""}), "is no name of a file"),
        (tar({"firstboot/__init__.py": b""}), "firstboot itself comes with the firmware"),
        (tar({"./main.py": b""}), "firstboot itself comes with the firmware"),
        (tar({"/boot.mpy": b""}), "firstboot itself comes with the firmware"),
        (tar({"app.py": b""}, type=tarfile.SYMTYPE, linkname="/main.py"), "is neither file nor folder"),
        (tar({"app.py": b""})[:200], "this is not a TAR archive"),
        (tar({"a": b"1"}).replace(b"ustar", b"\0\0\0\0\0").replace(b"0000644", b"0000645"), "not a TAR archive"),
    ],
)
def test_what_is_no_good_archive(data, says):
    put(data)
    with pytest.raises(ValueError, match=says):
        whole().install()
    assert not os.path.exists("main.py") and not os.path.exists("main2.py")


def test_an_absolute_name_stays_inside():
    put(tar({"/etc/app.py": b"x"}))
    whole().install()
    assert unpacked() == {"etc/app.py": b"x"}


def test_no_room(monkeypatch):
    monkeypatch.setattr(os, "statvfs", lambda path: (4096, 4096, 200, 5), raising=False)
    with pytest.raises(ValueError, match="it needs 36384 bytes of flash, 20480 are free"):
        files.Target({}, 10000)


def test_what_is_there_already_counts():
    put(b"x" * 3000)
    target = files.Target({}, 4096)
    assert target.done == 3000
    target.write(b"y" * 1096)
    target.close()
    assert target.done == 4096
    buffer = bytearray(512)
    assert b"".join(bytes(buffer[:n]) for n in target.read(buffer)) == b"x" * 3000 + b"y" * 1096
    target.clear()
    assert target.done == 0 and not os.path.exists("update.part")
    put(b"x" * 5000)
    assert files.Target({}, 4096).done == 0  # more than the package has


# Checksums


@pytest.mark.parametrize("size", [0, 1, 511, 512, 513, 5000])
def test_checksums(size):
    data = bytes(i * 7 & 255 for i in range(size))
    put(data)
    for algorithm, expected in (
        ("SHA256", hashlib.sha256(data).hexdigest()),
        ("MD5", hashlib.md5(data).hexdigest()),
        ("CRC32", crc(data)),
    ):
        assert digest.Digest(algorithm).of(files.Target({}, 8192)) == expected
    assert crc(b"123456789") == "2639f4cb"  # contract 9


@pytest.mark.parametrize("algorithm", ["MURMUR3_32", None, "", 5, "new"])
def test_unknown_checksums(algorithm):
    with pytest.raises(ValueError, match="this board has SHA256 and CRC32"):
        digest.Digest(algorithm)


# What the server has assigned


class Link:
    """A server that holds one package, with the MQTT link's face as far as ota/mqtt.py needs it."""

    timeout = 500
    most = 4096
    pid = 7

    def __init__(self, attributes, data=b"", fails_at=None):
        self.attributes = attributes
        self.data = data
        self.fails_at = fails_at
        self.asked = []
        self.sent = []
        self.inbox = []

    def within(self, ms):
        pass

    def write(self, data, start, size):
        assert data[:1] == b"\x82" and data[-1:] == b"\0"  # SUBSCRIBE, at QoS 0

    def publish(self, topic, payload):
        self.keys = json.loads(payload)["sharedKeys"].split(",")
        answer = {name: value for name, value in self.attributes.items() if name in self.keys}
        self.inbox.append((b"something", b"else"))
        self.inbox.append((b"v1/devices/me/attributes/response/2", json.dumps({"shared": answer}).encode()))

    def start(self, topic, payload):
        n = int(topic.rpartition(b"/")[2])
        if n == self.fails_at:
            self.fails_at = None
            raise OSError(104)
        self.asked.append(n)
        size = int(payload)
        piece = self.data[n * size : (n + 1) * size]
        if piece:
            self.inbox.append((topic.replace(b"request", b"response"), piece))
        else:
            self.inbox.append((b"v2/fw/error", b"NOT_FOUND"))

    def next(self):
        raise OSError("nothing more comes")

    def send(self, payload):
        self.sent.append(json.loads(payload))

    def listen(self, ms, handler):
        self.inbox.clear()

    def close(self):
        self.is_closed = True


def assigned(data, kind="sw", **more):
    found = {
        "title": "app",
        "version": "2",
        "size": len(data),
        "checksum": hashlib.sha256(data).hexdigest(),
        "checksum_algorithm": "SHA256",
        **more,
    }
    return {f"{kind}_{name}": value for name, value in found.items() if value is not None}


def loop(link):
    ota = SimpleNamespace(transport="mqtt", every=60000, look=1, trial=None, is_told=False)
    return SimpleNamespace(link=link, ota=ota, inbox=None, outbox=None)


def test_what_is_assigned():
    data = tar(APP)
    board = loop(Link(assigned(data)))
    key = f"app 2 {hashlib.sha256(data).hexdigest()}"
    assert look.look(board) == ("sw", "app", "2", len(data), "SHA256", hashlib.sha256(data).hexdigest(), key)
    state.save({"sw": {"now": ["app", "2"]}})
    assert look.look(board) is None
    state.save({"sw": {"now": ["app", "1"], "bad": key}})
    assert look.look(board) is None
    assert look.look(loop(Link({}))) is None


def test_firmware_goes_first():
    board = loop(Link({**assigned(b"x"), **assigned(b"y", "fw")}))
    assert look.look(board)[0] == "fw"


@pytest.mark.parametrize(
    ("more", "says"),
    [
        ({"url": "http://example.org"}, "link"),
        ({"size": None}, "no size"),
        ({"size": 0}, "no size"),
        ({"size": -5}, "no size"),
        ({"size": "12"}, "no size"),
        ({"size": 1 << 30}, "no size"),
        ({"checksum": None}, "no checksum"),
        ({"checksum": 5}, "no checksum"),
        ({"checksum_algorithm": "MURMUR3_128"}, "MURMUR3_128"),
        ({"checksum_algorithm": None}, "None"),
    ],
)
def test_what_can_not_be_taken_is_refused_once(more, says):
    link = Link(assigned(b"data", **more))
    board = loop(link)
    assert look.look(board) is None
    assert [told["sw_state"] for told in link.sent] == ["FAILED"]
    assert says in link.sent[0]["sw_error"]
    assert look.look(board) is None
    assert len(link.sent) == 1


@pytest.mark.parametrize("shared", [None, [], 5, {"sw_title": 7, "sw_version": True}])
def test_garbage_for_attributes(shared):
    link = Link({})
    link.publish = lambda topic, payload: link.inbox.append(
        (b"v1/devices/me/attributes/response/2", json.dumps({"shared": shared}).encode())
    )
    assert look.look(loop(link)) is None


def test_what_runs_is_told_once_a_boot():
    state.save({"sw": {"now": ["app", "2"], "news": {"sw_state": "UPDATED"}}})
    link = Link({})
    board = loop(link)
    look.look(board)
    look.look(board)
    told = {"sw_state": "UPDATED", "current_sw_title": "app", "current_sw_version": "2"}
    assert link.sent == [told]
    look.look(loop(link))
    del told["sw_state"]
    assert link.sent[1:] == [told]


# Download, trial, and the boots of it


def bring(link, data=None):
    """Look, and fetch what was found; returns how many samples were asked for in between."""
    board = loop(link)
    samples = []
    package = look.look(board)
    if package:
        fetch.fetch(board, package, lambda: samples.append(1))
    return board, len(samples)


def states(link):
    return [told["sw_state"] for told in link.sent if "sw_state" in told]


def boot():
    """state.begin(), as after a reset; returns Updates, or "reset" where it reset the board."""
    try:
        return state.begin(CONFIG)
    except machine.Reset:
        return "reset"


def test_a_package_is_installed_and_kept():
    data = tar({**APP, "more": b"m" * 5000})
    link = Link(assigned(data), data)
    with pytest.raises(machine.Reset):
        bring(link)
    assert states(link) == ["DOWNLOADING", "DOWNLOADED", "VERIFIED", "UPDATING"]
    assert link.asked == list(range(-(-len(data) // 1024)))
    updates = boot()
    assert (updates.trial, updates.every, sys.path[0]) == ("sw", 60000, "update.1")
    board = loop(link)
    board.ota.trial = "sw"
    trial.keep(board)
    assert board.ota.trial is None
    assert look.look(board) is None
    assert link.sent[-1] == {"sw_state": "UPDATED", "current_sw_title": "app", "current_sw_version": "2"}
    assert boot().trial is None and sys.path[0] == "update.1"


def test_a_package_that_is_never_kept_is_left():
    data = tar(APP)
    with pytest.raises(machine.Reset):
        bring(Link(assigned(data), data))
    for _ in range(3):
        assert boot().trial == "sw"
    sys.path[:] = ["here"]
    assert boot().trial is None
    assert sys.path == ["here"]
    link = Link(assigned(data), data)
    bring(link)
    assert link.sent == [{"sw_state": "FAILED", "sw_error": "it did not reach the server in 3 boots"}]
    assert link.asked == []


def test_going_back_is_to_the_last_one_that_was_kept():
    old, new = tar({"app.py": b"1"}), tar({"app.py": b"2"})
    with pytest.raises(machine.Reset):
        bring(Link(assigned(old), old))
    boot()
    trial.keep(loop(Link({})))
    with pytest.raises(machine.Reset):
        bring(Link(assigned(new, version="3"), new))
    boot()
    assert sys.path[0] == "update.0" and unpacked("update.0") == {"app.py": b"2"}
    with pytest.raises(machine.Reset):
        trial.end(loop(Link({})), "read() of its app fails")
    boot()
    assert sys.path[0] == "update.1" and unpacked("update.1") == {"app.py": b"1"}
    link = Link(assigned(new, version="3"), new)
    bring(link)
    assert link.sent[0]["sw_error"] == "read() of its app fails"


def test_a_lost_connection_goes_on_where_it_was():
    data = tar({"app.py": b"a" * 9000})
    link = Link(assigned(data), data, fails_at=4)
    board = loop(link)
    with pytest.raises(OSError):
        fetch.fetch(board, look.look(board), lambda: None)
    assert board.ota.look == 0  # at once, when there is a connection
    with pytest.raises(machine.Reset):
        bring(link)
    assert link.asked == list(range(-(-len(data) // 1024)))


def test_a_connection_that_carries_nothing_is_given_time():
    data = tar(APP)
    board = loop(Link(assigned(data), data, fails_at=0))
    with pytest.raises(OSError):
        fetch.fetch(board, look.look(board), lambda: None)
    assert board.ota.look == 1


def test_another_package_starts_anew():
    old, new = tar({"app.py": b"a" * 9000}), tar({"app.py": b"b" * 9000})
    board = loop(Link(assigned(old), old, fails_at=4))
    with pytest.raises(OSError):
        fetch.fetch(board, look.look(board), lambda: None)
    link = Link(assigned(new), new)
    with pytest.raises(machine.Reset):
        bring(link)
    assert link.asked[0] == 0
    assert unpacked() == {"app.py": b"b" * 9000}


def test_samples_go_on():
    data = tar({"app.py": b"a" * 9000})
    samples = []
    board = loop(Link(assigned(data), data))
    with pytest.raises(machine.Reset):
        fetch.fetch(board, look.look(board), lambda: samples.append(1))
    assert len(samples) == -(-len(data) // 1024)


@pytest.mark.parametrize(
    ("more", "data", "says"),
    [
        ({"checksum": "ab" * 32}, tar(APP), "the checksum is"),
        ({"size": len(tar(APP)) + 5000}, tar(APP), "the server says NOT_FOUND"),
        ({}, b"no archive" * 400, "this is not a TAR archive"),
        ({"size": len(tar(APP)) - 100}, tar(APP), "the server has 1024 bytes at"),
    ],
)
def test_what_is_refused_after_the_download(more, data, says):
    link = Link({**assigned(data), **{f"sw_{name}": value for name, value in more.items()}}, data)
    board, _ = bring(link)
    assert states(link)[-1] == "FAILED"
    assert says in link.sent[-1]["sw_error"]
    assert not os.path.exists("update.part")
    link.sent.clear()
    assert look.look(board) is None  # and not again
    assert boot().trial is None


def test_a_chunk_fits_into_a_frame():
    data = tar(APP)
    link = Link(assigned(data), data)
    link.most = 128
    sizes = []
    start = link.start
    link.start = lambda topic, payload: (sizes.append(int(payload)), start(topic, payload))
    with pytest.raises(machine.Reset):
        bring(link)
    assert set(sizes) == {64}


GARBAGE = [
    b"",
    b"x",
    b"[]",
    b"null",
    b'{"trial": 5}',
    b'{"trial": []}',
    b'{"trial": ["sw", "a", "b", "c", 1, null, "x", null]}',
    b'{"trial": ["xx", "a", "b", "c", null, null, 0, null]}',
    b'{"slot": "x"}',
    b'{"sw": 7}',
    b'{"sw": {"news": 5}}',
    b'{"trial": ["sw", "a", "b", "c", 1, null, 5, null], "sw": []}',
]


@pytest.mark.parametrize("content", GARBAGE)
def test_a_damaged_state_is_forgotten(content):
    put(content, "update.json")
    boot()
    boot()
    data = tar(APP)
    link = Link(assigned(data), data)
    board = loop(link)
    board.ota.trial = boot().trial
    if board.ota.trial is None:
        with pytest.raises(machine.Reset):
            bring(link)


# The chip's own image


class Partition:
    """An ESP32's two app partitions; `esp32.Partition` where it has them."""

    RUNNING = 1
    flash = {}
    running = "ota_0"
    boot = "ota_0"
    marked = False

    def __init__(self, id):
        self.label = Partition.running if id == self.RUNNING else id
        self.bytes = Partition.flash.setdefault(self.label, bytearray(b"\xff" * 65536))

    def info(self):
        return (0, 16, 0x10000, 65536, self.label, False)

    def get_next_update(self):
        return Partition("ota_1" if self.label == "ota_0" else "ota_0")

    def readblocks(self, n, buffer, offset=0):
        at = n * 4096 + offset
        buffer[:] = self.bytes[at : at + len(buffer)].ljust(len(buffer), b"\xff")

    def writeblocks(self, n, data, offset):
        at = n * 4096 + offset
        assert all(byte == 255 for byte in self.bytes[at : at + len(data)]), "not erased"
        self.bytes[at : at + len(data)] = data

    def ioctl(self, operation, n):
        assert operation == 6
        self.bytes[n * 4096 : n * 4096 + 4096] = b"\xff" * 4096
        return 0

    def set_boot(self):
        if self.bytes[0] != 0xE9:
            raise OSError(-0x1503)
        Partition.boot = self.label

    @staticmethod
    def mark_app_valid_cancel_rollback():
        Partition.marked = True


@pytest.fixture
def partitions(monkeypatch):
    Partition.flash, Partition.running, Partition.boot, Partition.marked = {}, "ota_0", "ota_0", False
    Partition("ota_0").bytes[0] = 0xE9
    Partition("ota_1").bytes[:] = b"\x5a" * 65536  # of some time ago
    monkeypatch.setattr(esp32, "Partition", Partition, raising=False)
    return Partition


IMAGE = b"\xe9" + bytes(i * 31 & 255 for i in range(20000))


def test_an_image_goes_into_the_other_partition(partitions):
    link = Link(assigned(IMAGE, "fw"), IMAGE)
    with pytest.raises(machine.Reset):
        bring(link)
    assert partitions.flash["ota_1"][: len(IMAGE)] == IMAGE
    assert partitions.boot == "ota_1"
    partitions.running = "ota_1"
    assert boot().trial == "fw"
    board = loop(link)
    trial.keep(board)
    assert partitions.marked
    assert look.look(board) is None
    assert link.sent[-1] == {"fw_state": "UPDATED", "current_fw_title": "app", "current_fw_version": "2"}


@pytest.mark.parametrize("fails_at", [1, 3, 4, 5, 13, 19])
def test_an_image_goes_on_where_it_was(partitions, fails_at):
    link = Link(assigned(IMAGE, "fw"), IMAGE, fails_at)
    with pytest.raises(OSError):
        bring(link)
    with pytest.raises(machine.Reset):
        bring(link)
    assert partitions.flash["ota_1"][: len(IMAGE)] == IMAGE
    assert len(link.asked) <= 20 + 8  # from the block before the last one that was begun


def test_a_cut_between_installing_and_booting(partitions):
    with pytest.raises(machine.Reset):
        bring(Link(assigned(IMAGE, "fw"), IMAGE))
    partitions.boot = "ota_0"
    assert boot() == "reset"
    assert partitions.boot == "ota_1"


def test_the_bootloader_went_back(partitions):
    with pytest.raises(machine.Reset):
        bring(Link(assigned(IMAGE, "fw"), IMAGE))
    boots = [boot() for _ in range(3)]
    assert boots == ["reset"] * 3
    assert boot().trial is None
    link = Link(assigned(IMAGE, "fw"), IMAGE)
    bring(link)
    assert link.sent == [{"fw_state": "FAILED", "fw_error": "it did not reach the server in 3 boots"}]


def test_back_without_the_bootloader(partitions):
    with pytest.raises(machine.Reset):
        bring(Link(assigned(IMAGE, "fw"), IMAGE))
    partitions.running = "ota_1"
    for _ in range(3):
        assert boot().trial == "fw"
    assert boot() == "reset"
    assert partitions.boot == "ota_0"


@pytest.mark.parametrize(
    ("image", "says"),
    [(b"no image" * 100, "no image for this chip"), (b"\xe9" * 70000, "do not fit into the partition's 65536")],
)
def test_an_image_that_is_refused(partitions, image, says):
    link = Link(assigned(image, "fw"), image)
    bring(link)
    assert says in link.sent[-1]["fw_error"]
    assert partitions.boot == "ota_0"


def test_boards_without_a_second_partition(partitions, monkeypatch):
    def none(self):
        raise OSError(2)

    monkeypatch.setattr(Partition, "get_next_update", none)
    link = Link(assigned(IMAGE, "fw"), IMAGE)
    bring(link)
    assert "no second app partition" in link.sent[-1]["fw_error"]
    monkeypatch.setitem(sys.modules, "esp32", None)
    with pytest.raises(ValueError, match="only software packages"):
        chip.Target({}, 5)
