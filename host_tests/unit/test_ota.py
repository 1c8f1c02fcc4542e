"""Updates: what the server has assigned, the archive, the trial, and what a boot makes of update.json."""

import hashlib
import json
import os
import sys
import tarfile
from types import SimpleNamespace

import esp32
import firstboot
import machine
import pytest
from firstboot.link import LinkError
from firstboot.ota import begin, bring, digest, files, find, room, state, tar, trial

from . import packages
from .packages import crc

CHUNK = 2048  # on CPython, where heap is plenty
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


def package(kind="sw", size=None, **more):
    """A package as look.py has it; its size that of update.part where none is given."""
    size = os.stat("update.part")[6] if size is None else size
    members = {
        "title": "app",
        "version": "2",
        "size": size,
        "algorithm": "SHA256",
        "checksum": "",
        "key": "k",
        "url": None,
    }
    return (kind, *{**members, **more}.values())


# The archive


@pytest.mark.parametrize("form", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_an_archive_is_unpacked(form):
    put(
        packages.tar(
            {"lib": None, "./" + "x.txt": b"z" * 1300, **APP}, form, mtime=1.5 if form == tarfile.PAX_FORMAT else 1
        )
    )
    assert tar.install(1) == 1
    assert unpacked() == {**APP, "x.txt": b"z" * 1300}


def test_folders_in_turn_and_the_old_one_goes_first():
    for slot, other in ((None, 1), (1, 0), (0, 1)):
        put(packages.tar(APP))
        os.makedirs(f"update.{other}/left/over", exist_ok=True)
        put(b"old", f"update.{other}/left/over/file")
        room.target(package(), slot)
        assert not os.path.exists(f"update.{other}")
        assert tar.install(other) == other
        assert unpacked(f"update.{other}") == APP


def long_prefix():
    return packages.tar({"a" * 90 + "/" + "b" * 90 + "/c.py": b"1"})


def test_a_name_in_two_parts():
    put(long_prefix())
    tar.install(1)
    assert list(unpacked()) == ["a" * 90 + "/" + "b" * 90 + "/c.py"]


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"\xe9" + b"no archive" * 100, "this is not a TAR archive"),
        (packages.tar(APP)[: 512 + 3], "the archive ends in the middle of update.1/app.py"),
        (packages.tar({"../main2.py": b""}), r"\.\./main2\.py in the archive is no name of a file"),
        (packages.tar({"a/../../b": b""}), "is no name of a file"),
        (packages.tar({"firstboot/__init__.py": b""}), "firstboot itself comes with the firmware"),
        (packages.tar({"./main.py": b""}), "firstboot itself comes with the firmware"),
        (packages.tar({"/boot.mpy": b""}), "firstboot itself comes with the firmware"),
        (packages.tar({"app.py": b""}, type=tarfile.SYMTYPE, linkname="/main.py"), "is neither file nor folder"),
        (packages.tar({"app.py": b""})[:200], "this is not a TAR archive"),
        (packages.tar({"n" * 120: b""}, tarfile.PAX_FORMAT), "a name in the archive is too long, or not in ASCII"),
        (packages.tar({"\xe4.py": b""}, tarfile.PAX_FORMAT), "a name in the archive is too long, or not in ASCII"),
        (packages.tar({"n" * 120: b""}, tarfile.GNU_FORMAT), "@LongLink in the archive is neither file nor folder"),
        (
            packages.tar({"a": b"1"}).replace(b"ustar", b"\0\0\0\0\0").replace(b"0000644", b"0000645"),
            "not a TAR archive",
        ),
    ],
)
def test_what_is_no_good_archive(data, says):
    put(data)
    with pytest.raises(ValueError, match=says):
        tar.install(1)
    assert not os.path.exists("main.py") and not os.path.exists("main2.py")


def test_a_name_that_pax_tells_is_seen_wherever_it_is():
    # Behind so much that it lies across two blocks.
    for size in range(480, 520):
        comment = "c" * size
        put(packages.tar({"n" * 120: b""}, tarfile.PAX_FORMAT, pax_headers={"comment": comment}))
        with pytest.raises(ValueError, match="too long"):
            tar.install(1)
        files.remove("update.1")


def test_a_size_that_no_file_has_ends():
    head = bytearray(packages.tar({"x": b""}, tarfile.PAX_FORMAT, type=tarfile.XHDTYPE)[:512])
    head[124:136] = b"77777777777\0"
    head[148:156] = b"%06o\0 " % (sum(head) - sum(head[148:156]) + 256)
    put(head)
    tar.install(1)
    assert unpacked() == {}


def test_an_absolute_name_stays_inside():
    put(packages.tar({"/etc/app.py": b"x"}))
    tar.install(1)
    assert unpacked() == {"etc/app.py": b"x"}


def test_no_room(monkeypatch):
    monkeypatch.setattr(os, "statvfs", lambda path: (4096, 4096, 200, 5), raising=False)
    with pytest.raises(ValueError, match="it needs 36384 bytes of flash, 20480 are free"):
        room.target(package(size=10000), None)


def test_what_is_there_already_counts():
    put(b"x" * 3000)
    target = room.target(package(size=4096), None)
    assert target.there == 3000
    target.write(b"y" * 1096)
    target.close()
    assert target.there == 4096
    buffer = bytearray(512)
    found = b""
    for at in range(0, 4096, 512):
        target.read(at, buffer)
        found += buffer
    assert found == b"x" * 3000 + b"y" * 1096
    target.clear()
    assert target.there == 0 and not os.stat("update.part")[6]
    put(b"x" * 5000)
    assert room.target(package(size=4096), None).there == 0  # more than the package has


# Checksums


@pytest.mark.parametrize("size", [1, 511, 512, 513, 5000])
def test_checksums(size):
    data = bytes(i * 7 & 255 for i in range(size))
    put(data)
    for algorithm, expected in (
        ("SHA256", hashlib.sha256(data).hexdigest()),
        ("MD5", hashlib.md5(data).hexdigest()),
        ("CRC32", crc(data)),
    ):
        assert not digest.check(package(algorithm=algorithm, checksum=expected), files.Target(size), bytearray(512))
        wrong = package(algorithm=algorithm, checksum=expected.replace(expected[0], "x"))
        assert digest.check(wrong, files.Target(size), bytearray(512)).startswith(
            f"the checksum is {expected} and not x"
        )
    assert crc(b"123456789") == "2639f4cb"  # contract 9


@pytest.mark.parametrize("algorithm", ["MURMUR3_32", None, "", 5, "new"])
def test_unknown_checksums(algorithm):
    with pytest.raises(ValueError, match="this board has SHA256 and CRC32"):
        digest.make(algorithm)


# What the server has assigned


class Link:
    """A server that holds one package, with the MQTT link's face as far as ota/mqtt.py needs it."""

    timeout = 500
    pid = 7

    def __init__(self, attributes, data=b"", fails_at=None, empty_at=None):
        self.attributes = attributes
        self.data = data
        self.fails_at = fails_at
        self.empty_at = empty_at
        self.asked = []
        self.sent = []
        self.inbox = ()
        self.out = bytearray()
        self.head = bytearray(2)
        self.most = 4096
        self.sizes = set()

    def within(self, ms):
        pass

    def write(self, data, start, size):
        if data[0] == 0x82:
            assert data[-1:] == b"\0"  # SUBSCRIBE at QoS 0
            self.out += b"\x90\3\0\0\0"
            return
        if data[0] == 0x40:
            return
        assert data[0] == 0x32 and data[1] == size - 2
        topic = data[4 : 4 + data[3]]
        self._asked(topic, data[6 + data[3] :])

    def publish(self, topic, payload):
        self.keys = json.loads(payload)["sharedKeys"].split(",")
        answer = {name: value for name, value in self.attributes.items() if name in self.keys}
        self._comes(b"something", b"else")
        self._comes(b"v1/devices/me/attributes/response/2", json.dumps({"shared": answer}).encode())

    def _comes(self, topic, payload):
        self.inbox += ((topic, payload),)

    def _asked(self, topic, payload):
        n = int(topic.rpartition(b"/")[2])
        if n == self.fails_at:
            self.fails_at = None
            raise OSError(104)
        self.asked.append(n)
        self.sizes.add(int(payload))
        size = int(payload)
        piece = self.data[n * size : (n + 1) * size]
        self.out += b"\x40\2\0\0"
        if n == self.empty_at:
            piece = b""
        if n * size < len(self.data):
            topic = topic.replace(b"request", b"response")
            length = len(topic) + 2 + len(piece)
            head = bytes((0x30, length)) if length < 128 else bytes((0x30, length & 127 | 128, length >> 7))
            self.out += head + bytes((0, len(topic))) + topic + piece
        else:
            self.out += b"\x32\x18\0\x0bv2/fw/error\0\1NOT_FOUND"

    def fill(self, buffer):
        assert len(self.out) >= len(buffer), "nothing more comes"
        buffer[:] = self.out[: len(buffer)]
        del self.out[: len(buffer)]

    def next(self):
        raise OSError("nothing more comes")

    def send(self, payload):
        self.sent.append(json.loads(payload))

    def listen(self, ms, handler):
        self.inbox = ()

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


def looked(link):
    """What find.py makes of the server's attributes."""
    return find.find(loop(link))


def loop(link):
    ota = SimpleNamespace(transport="mqtt", every=60000, look=1, trial=None, is_told=False)
    return SimpleNamespace(link=link, ota=ota, inbox=None, outbox=None)


def test_what_is_assigned():
    data = packages.tar(APP)
    link = Link(assigned(data))
    key = f"app 2 {hashlib.sha256(data).hexdigest()}"
    found = ("sw", "app", "2", len(data), "SHA256", hashlib.sha256(data).hexdigest(), key, None)
    assert looked(link) == found
    state.save({"sw": {"now": ["app", "2"]}})
    assert looked(link) is None
    state.save({"sw": {"now": ["app", "1"], "bad": key}})
    assert looked(link) is None
    assert looked(Link({})) is None


def test_firmware_goes_first():
    assert looked(Link({**assigned(b"x"), **assigned(b"y", "fw")}))[0] == "fw"


@pytest.mark.parametrize(
    ("more", "says"),
    [
        ({"url": "http://example.org"}, "link"),
        ({"size": None}, "sw_size is no size: None"),
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
    assert find.find(board) is None
    assert [told["sw_state"] for told in link.sent] == ["FAILED"]
    assert says in link.sent[0]["sw_error"] and "fw_" not in link.sent[0]["sw_error"]
    assert find.find(board) is None
    assert len(link.sent) == 1


@pytest.mark.parametrize("shared", [None, [], 5, {"sw_title": 7, "sw_version": True}])
def test_garbage_for_attributes(shared):
    link = Link({})
    answer = json.dumps({"shared": shared}).encode()
    link.publish = lambda topic, payload: link._comes(b"v1/devices/me/attributes/response/2", answer)
    assert find.find(loop(link)) is None


def test_what_runs_is_told_once_a_boot():
    state.save({"sw": {"now": ["app", "2"], "news": {"sw_state": "UPDATED"}}})
    link = Link({})
    board = loop(link)
    find.find(board)
    find.find(board)
    told = {"sw_state": "UPDATED", "current_sw_title": "app", "current_sw_version": "2"}
    assert link.sent == [told]
    find.find(loop(link))
    del told["sw_state"]
    assert link.sent[1:] == [told]


# Download, trial, and the boots of it


def fetched(link):
    """Look, and fetch what was found; returns how many samples were asked for in between."""
    board = loop(link)
    samples = []
    found = find.find(board)
    if found:
        bring.bring(board, found, lambda: samples.append(1))
    return board, len(samples)


def states(link):
    return [told["sw_state"] for told in link.sent if "sw_state" in told]


def boot():
    """begin.begin(), as after a reset; returns Updates, or "reset" where it reset the board."""
    try:
        return begin.begin(CONFIG)
    except machine.Reset:
        return "reset"


def test_a_package_is_installed_and_kept():
    data = packages.tar({**APP, "more": b"m" * 5000})
    link = Link(assigned(data), data)
    with pytest.raises(machine.Reset):
        fetched(link)
    assert states(link) == ["DOWNLOADING", "DOWNLOADED", "VERIFIED", "UPDATING"]
    assert link.asked == list(range(-(-len(data) // CHUNK)))
    updates = boot()
    assert (updates.trial, updates.every, sys.path[0]) == ("sw", 60000, "update.1")
    board = loop(link)
    board.ota.trial = "sw"
    trial.keep(board)
    assert board.ota.trial is None
    assert find.find(board) is None
    assert link.sent[-1] == {"sw_state": "UPDATED", "current_sw_title": "app", "current_sw_version": "2"}
    assert boot().trial is None and sys.path[0] == "update.1"


def test_a_package_that_is_never_kept_is_left():
    data = packages.tar(APP)
    with pytest.raises(machine.Reset):
        fetched(Link(assigned(data), data))
    for _ in range(3):
        assert boot().trial == "sw"
    sys.path[:] = ["here"]
    assert boot().trial is None
    assert sys.path == ["here"]
    link = Link(assigned(data), data)
    fetched(link)
    assert link.sent == [{"sw_state": "FAILED", "sw_error": "it did not reach the server in 3 boots"}]
    assert link.asked == []


def test_going_back_is_to_the_last_one_that_was_kept():
    old, new = packages.tar({"app.py": b"1"}), packages.tar({"app.py": b"2"})
    with pytest.raises(machine.Reset):
        fetched(Link(assigned(old), old))
    boot()
    trial.keep(loop(Link({})))
    with pytest.raises(machine.Reset):
        fetched(Link(assigned(new, version="3"), new))
    boot()
    assert sys.path[0] == "update.0" and unpacked("update.0") == {"app.py": b"2"}
    with pytest.raises(machine.Reset):
        trial.end(loop(Link({})), "read() of its app fails")
    boot()
    assert sys.path[0] == "update.1" and unpacked("update.1") == {"app.py": b"1"}
    link = Link(assigned(new, version="3"), new)
    fetched(link)
    assert link.sent[0]["sw_error"] == "read() of its app fails"


def test_a_lost_connection_goes_on_where_it_was():
    data = packages.tar({"app.py": b"a" * 9000})
    link = Link(assigned(data), data, fails_at=2)
    board = loop(link)
    with pytest.raises(OSError):
        bring.bring(board, find.find(board), lambda: None)
    assert board.ota.look == 0  # at once, when there is a connection
    with pytest.raises(machine.Reset):
        fetched(link)
    assert link.asked == list(range(-(-len(data) // CHUNK)))


def test_a_server_whose_cache_lets_go_of_the_package_is_asked_again():
    data = packages.tar({"app.py": b"a" * 9000})
    link = Link(assigned(data), data, empty_at=2)
    with pytest.raises(LinkError, match="nothing at byte 4096"):
        fetched(link)
    link.empty_at = None
    with pytest.raises(machine.Reset):
        fetched(link)
    assert link.asked == [0, 1, 2, *range(2, -(-len(data) // CHUNK))]
    assert "FAILED" not in states(link)


def test_a_server_that_never_has_more_is_no_reason_to_ask_for_ever():
    data = packages.tar({"app.py": b"a" * 9000})
    link = Link(assigned(data), data, empty_at=2)
    with pytest.raises(LinkError):
        fetched(link)
    fetched(link)
    assert link.sent[-1]["sw_error"] == f"the server has 0 bytes at 4096 of {len(data)}"


@pytest.mark.parametrize("kind", ["sw", "fw"])
@pytest.mark.usefixtures("partitions")
def test_a_lost_acknowledgement_leaves_no_trial_that_did_not_begin(kind):
    data = packages.tar(APP) if kind == "sw" else IMAGE
    link = Link(assigned(data, kind), data)
    send, left = link.send, [1]

    def lost(payload):
        send(payload)
        if b"UPDATING" in payload and left.pop():
            raise LinkError("the server closed the connection")

    link.send = lost
    with pytest.raises(LinkError):
        fetched(link)
    assert boot().trial is None
    link.send = send
    with pytest.raises(machine.Reset):
        fetched(link)
    assert [told[f"{kind}_state"] for told in link.sent][-2:] == ["VERIFIED", "UPDATING"]


class FullFlash:
    """`state.save()` finds no room as long as one of these is there."""

    def __init__(self, monkeypatch, *names):
        self.names = names
        self.save = state.save
        monkeypatch.setattr(state, "save", self)

    def __call__(self, content):
        if any(map(os.path.exists, self.names)):
            raise OSError(28, "ENOSPC")
        self.save(content)


def test_a_trial_that_can_not_be_counted_is_over(monkeypatch):
    data = packages.tar(APP)
    with pytest.raises(machine.Reset):
        fetched(Link(assigned(data), data))
    keep(monkeypatch, state)
    FullFlash(monkeypatch, "update.1")
    sys.path[:] = ["here"]
    assert boot().trial is None and sys.path == ["here"]
    link = Link(assigned(data), data)
    fetched(link)
    assert link.sent == [{"sw_state": "FAILED", "sw_error": "flash: [Errno 28] ENOSPC"}]


def test_a_board_starts_on_a_flash_that_takes_nothing(monkeypatch, partitions):
    with pytest.raises(machine.Reset):
        fetched(Link(assigned(IMAGE, "fw"), IMAGE))
    keep(monkeypatch, state)
    FullFlash(monkeypatch, ".")
    partitions.running = "ota_1"
    assert boot() == "reset" and partitions.boot == "ota_0"
    partitions.running = "ota_0"
    assert boot().trial is None


def test_what_was_removed_and_not_noted_is_not_kept_later(monkeypatch):
    data = packages.tar(APP)
    with pytest.raises(machine.Reset):
        fetched(Link(assigned(data), data))
    keep(monkeypatch, state)
    full = FullFlash(monkeypatch, ".")
    assert boot().trial is None and not os.path.exists("update.1")
    full.names = ()
    assert boot().trial is None
    assert "trial" not in state.load()


def test_what_does_not_fit_when_unpacked_is_told_and_leaves_no_trace(monkeypatch):
    data = packages.tar({"app.py": b"a" * 3000})
    keep(monkeypatch, state)
    FullFlash(monkeypatch, "update.1")
    link = Link(assigned(data), data)
    fetched(link)
    assert states(link)[-1] == "FAILED" and "ENOSPC" in link.sent[-1]["sw_error"]
    assert os.listdir() == ["update.json"]
    assert find.find(loop(link)) is None


def keep(monkeypatch, module):
    """Errands shall find what the test has put into `module`."""
    monkeypatch.setattr(firstboot, "forget", lambda name: None)
    monkeypatch.setitem(sys.modules, module.__name__, module)


def test_a_connection_that_carries_nothing_is_given_time():
    data = packages.tar(APP)
    board = loop(Link(assigned(data), data, fails_at=0))
    with pytest.raises(OSError):
        bring.bring(board, find.find(board), lambda: None)
    assert board.ota.look == 1


def test_another_package_starts_anew():
    old, new = packages.tar({"app.py": b"a" * 9000}), packages.tar({"app.py": b"b" * 9000})
    board = loop(Link(assigned(old), old, fails_at=2))
    with pytest.raises(OSError):
        bring.bring(board, find.find(board), lambda: None)
    link = Link(assigned(new), new)
    with pytest.raises(machine.Reset):
        fetched(link)
    assert link.asked[0] == 0
    assert unpacked() == {"app.py": b"b" * 9000}


def test_samples_go_on():
    data = packages.tar({"app.py": b"a" * 9000})
    samples = []
    board = loop(Link(assigned(data), data))
    with pytest.raises(machine.Reset):
        bring.bring(board, find.find(board), lambda: samples.append(1))
    assert len(samples) == -(-len(data) // CHUNK)


@pytest.mark.parametrize(
    ("more", "data", "says"),
    [
        ({"size": len(packages.tar(APP)) + 5000}, packages.tar(APP), "the server says NOT_FOUND"),
        ({}, b"no archive" * 400, "this is not a TAR archive"),
        ({"size": len(packages.tar(APP)) - 100}, packages.tar(APP), "the server has 2048 bytes at"),
    ],
)
def test_what_is_refused_after_the_download(more, data, says):
    link = Link({**assigned(data), **{f"sw_{name}": value for name, value in more.items()}}, data)
    board, _ = fetched(link)
    assert states(link)[-1] == "FAILED"
    assert says in link.sent[-1]["sw_error"]
    assert not os.path.exists("update.part")
    link.sent.clear()
    assert find.find(board) is None  # and not again
    assert boot().trial is None


def test_wrong_bytes_are_asked_for_again_twice():
    data = packages.tar(APP)
    link = Link({**assigned(data), "sw_checksum": "ab" * 32}, data)
    for expected in ([], [], ["FAILED"]):
        link.sent.clear()
        fetched(link)
        assert [state for state in states(link) if state not in ("DOWNLOADING", "DOWNLOADED")] == expected
    assert "the checksum is" in link.sent[-1]["sw_error"]
    assert find.find(loop(link)) is None
    # Another package begins to count anew.
    link = Link({**assigned(data, version="3"), "sw_checksum": "ab" * 32}, data)
    fetched(link)
    assert "FAILED" not in states(link)
    with pytest.raises(machine.Reset):
        fetched(Link(assigned(data, version="3"), data))


def test_a_cut_before_the_old_bytes_are_gone():
    old, new = packages.tar({"app.py": b"a" * 9000}), packages.tar({"app.py": b"b" * 9000})
    board = loop(Link(assigned(old), old, fails_at=2))
    with pytest.raises(OSError):
        bring.bring(board, find.find(board), lambda: None)
    with open("update.part", "rb") as f:
        half = f.read()
    state.begin(f"app 3 {hashlib.sha256(new).hexdigest()}")
    put(half)  # the flash kept the new state, and the old bytes
    link = Link(assigned(new, version="3"), new)
    fetched(link)
    with pytest.raises(machine.Reset):
        fetched(link)
    assert unpacked() == {"app.py": b"b" * 9000}


def test_a_chunk_fits_into_a_frame():
    data = packages.tar(APP)
    link = Link(assigned(data), data)
    link.most = 128
    with pytest.raises(machine.Reset):
        fetched(link)
    assert link.sizes == {64}


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
    data = packages.tar(APP)
    link = Link(assigned(data), data)
    board = loop(link)
    board.ota.trial = boot().trial
    if board.ota.trial is None:
        with pytest.raises(machine.Reset):
            fetched(link)


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
        fetched(link)
    assert partitions.flash["ota_1"][: len(IMAGE)] == IMAGE
    assert partitions.boot == "ota_1"
    partitions.running = "ota_1"
    board = loop(link)
    board.ota.trial = boot().trial
    trial.keep(board)
    assert partitions.marked
    assert find.find(board) is None
    assert link.sent[-1] == {"fw_state": "UPDATED", "current_fw_title": "app", "current_fw_version": "2"}


@pytest.mark.parametrize("fails_at", [1, 2, 3, 4, 8, 9])
def test_an_image_goes_on_where_it_was(partitions, fails_at):
    link = Link(assigned(IMAGE, "fw"), IMAGE, fails_at)
    with pytest.raises(OSError):
        fetched(link)
    with pytest.raises(machine.Reset):
        fetched(link)
    assert partitions.flash["ota_1"][: len(IMAGE)] == IMAGE
    assert len(link.asked) <= 10 + 4  # from the block before the last one that was begun


def test_a_cut_between_installing_and_booting(partitions):
    with pytest.raises(machine.Reset):
        fetched(Link(assigned(IMAGE, "fw"), IMAGE))
    partitions.boot = "ota_0"
    assert boot() == "reset"
    assert partitions.boot == "ota_1"


def test_the_trial_is_known_before_the_other_partition_may_run(partitions, monkeypatch):
    # Else an image that runs would download into the one to go back to.
    def set_boot(self):
        assert state.load()["trial"][:6] == ["fw", "app", "2", state.load()["trial"][3], "ota_1", "ota_0"]
        raise machine.Reset

    monkeypatch.setattr(Partition, "set_boot", set_boot)
    with pytest.raises(machine.Reset):
        fetched(Link(assigned(IMAGE, "fw"), IMAGE))


def test_an_image_that_is_gone_at_the_boot(partitions):
    with pytest.raises(machine.Reset):
        fetched(Link(assigned(IMAGE, "fw"), IMAGE))
    partitions.flash["ota_1"][0] = 0
    assert boot().trial is None
    link = Link(assigned(IMAGE, "fw"), IMAGE)
    fetched(link)
    assert link.sent == [{"fw_state": "FAILED", "fw_error": "it can't be started"}]


def test_the_bootloader_went_back(partitions):
    with pytest.raises(machine.Reset):
        fetched(Link(assigned(IMAGE, "fw"), IMAGE))
    boots = [boot() for _ in range(3)]
    assert boots == ["reset"] * 3
    assert boot().trial is None
    link = Link(assigned(IMAGE, "fw"), IMAGE)
    fetched(link)
    assert link.sent == [{"fw_state": "FAILED", "fw_error": "it did not reach the server in 3 boots"}]


def test_back_without_the_bootloader(partitions):
    with pytest.raises(machine.Reset):
        fetched(Link(assigned(IMAGE, "fw"), IMAGE))
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
    fetched(link)
    assert says in link.sent[-1]["fw_error"]
    assert partitions.boot == "ota_0"


def test_boards_without_a_second_partition(partitions, monkeypatch):
    def none(self):
        raise OSError(2)

    monkeypatch.setattr(Partition, "get_next_update", none)
    link = Link(assigned(IMAGE, "fw"), IMAGE)
    fetched(link)
    assert "no second app partition" in link.sent[-1]["fw_error"]
    monkeypatch.setitem(sys.modules, "esp32", None)
    with pytest.raises(ValueError, match="only software packages"):
        room.target(package("fw", 5), None)
