"""Boards with certificates of their own, over mutual TLS, from the first boot to the rotation of the key."""

import base64
import datetime
import itertools
import json
import re
from binascii import crc32

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from firstboot.store import ASKED, VERIFIED
from typer.testing import CliRunner

from tools.build import firmware
from tools.keys import make_authority
from tools.keys.__main__ import app as app_of_keys
from tools.measure import smallest
from tools.stage import COUNTING, Stage
from tools.standin.provisioning import X509_CHAIN
from tools.standin.registry import x509_certificate
from tools.vboard import PowerCut

pytestmark = pytest.mark.vm

FAST = {"retry": {"first": 0.02, "most": 0.05, "refused": 0.1}, "period": 0.05}
TORN = ("half", "before", "after")
TELEMETRY = "(telemetry: acknowledged|outbox: empty)"
# Orders a rotation at its third sample, and tells what comes of it.
ROTATING = b"""
from firstboot import x509
count = 0


def read():
    global count
    count += 1
    if count == 3:
        try:
            text = x509.rotate()
            print("rotated")
            return {"next": text}
        except ValueError as e:
            return {"error": str(e)}
    return {"count": count}
"""
ANSWERING = b"""
def read():
    return {"count": 1}


def on_rpc(method, params):
    if method == "rotate":
        from firstboot import x509

        return x509.rotate()
"""
NOW = datetime.datetime.now(datetime.timezone.utc)
DAY = datetime.timedelta(days=1)


@pytest.fixture(params=["1.3"])
def stage(request):
    with Stage(tls=True, credentials="x509", config=FAST, newest_tls=request.param) as made:
        yield made


both_tls = pytest.mark.parametrize("stage", ["1.2", "1.3"], indirect=True)
# TLS 1.3 is through with its handshake before the server has looked at the certificate.
REFUSED = "TLS: the server refuses this board's certificate|does the server take this board's certificate"


def name_of(board):
    return f"ESP32-{board.mac}"


def slots(image):
    """The identity records on flash and in NVS that a boot would accept: (sequence, state, credentials) each."""
    found = [image.get(path) for path in image.ls() if path.endswith(("/identity.0", "/identity.1"))]
    found += image.nvs_blobs("firstboot").values()
    return [json.loads(data[8:]) for data in found if data and int(data[:8], 16) == crc32(data[8:])]


def record(image):
    """State and credentials of the newest record."""
    return max(slots(image))[1:]


def plant(image, state, credentials):
    """Put a record on flash as the only one."""
    body = json.dumps([1, state, credentials]).encode()
    image.put({"/identity.1": b"%08x" % crc32(body) + body})


def load(text):
    return x509.load_der_x509_certificate(base64.b64decode(text))


def ready(run):
    assert run.ended == "found", run.log
    assert not run.has("MemoryError|Traceback")
    return run


@both_tls
def test_first_boot_and_second_boot(stage):
    image = stage.image()
    board = stage.board(image)
    first = ready(board.run(TELEMETRY))
    [device] = stage.standin.devices()
    made = load(device.credentials.value)
    made.verify_directly_issued_by(made)
    assert device.name == name_of(board) and made.subject.rfc4514_string() == "CN=" + device.name
    state, credentials = record(image)
    assert state == VERIFIED
    assert credentials["certificate"] == device.credentials.value
    key = serialization.load_der_private_key(base64.b64decode(credentials["key"]), None)
    assert key.public_key() == made.public_key()

    second = ready(board.run(TELEMETRY))
    assert stage.standin.provision_requests == [device.name]
    assert record(image) == [VERIFIED, credentials]
    for run in (first, second):
        assert credentials["key"] not in run.log and credentials["key"][40:80] not in run.log
    # The key has left the board in no form: nothing that the server was told has it.
    secret = key.private_numbers().private_value.to_bytes(32, "big")
    for wire in stage.standin.wires:
        for form in (secret, secret.hex().encode(), credentials["key"].encode()):
            assert not wire.saw(form)


def test_a_board_without_nvs(stage):
    image = stage.image()
    board = stage.board(image, kind="RPI_PICO_W")
    ready(board.run(TELEMETRY))
    before = record(image)
    ready(board.run(TELEMETRY))
    assert record(image) == before and len(slots(image)) == 2
    assert [device.credentials.value for device in stage.standin.devices()] == [before[1]["certificate"]]


def test_a_key_born_twice_of_one_random_source_is_the_same_and_of_two_is_not(stage):
    born = []
    for seed in (1, 1, 2):
        image = stage.image()
        # Up to the asking, where the server's randomness comes in; one name for all three.
        image.put({"/config.json": json.dumps({**stage.config, "provision": {**NOBODY, "name": "twin"}}).encode()})
        ready(stage.board(image, seed=seed).run("server answers NOT_FOUND"))
        born.append(record(image)[1])
    assert born[0] == born[1]
    assert born[0]["key"] != born[2]["key"] and born[0]["certificate"] != born[2]["certificate"]


NOBODY = {"key": "nobody's", "secret": "nobody's"}


def test_a_cut_at_any_flash_operation_ends_with_one_key(stage):
    for at in itertools.count(1):
        image = stage.image()
        run = stage.board(image, cut=PowerCut(at, TORN[at % 3])).run(TELEMETRY)
        if run.ended != "power cut":
            ready(run)
            break
        board = stage.board(image)
        ready(board.run(TELEMETRY))
        kept = slots(image)
        assert len({credentials["key"] for _, _, credentials in kept}) == 1
        assert stage.standin.device(name_of(board)).credentials.value == kept[0][2]["certificate"]
        requests = stage.standin.provision_requests
        assert requests.count(name_of(board)) in (1, 2)
    assert at > 20
    print(at - 1, "power cuts, one key each")


def test_the_key_takes_at_most_6_kib_on_top_of_the_boot(stage):
    with Stage(tls=True, config=FAST) as plain:
        least = smallest(lambda size: boots_in(plain, size))
    with_key = smallest(lambda size: boots_in(stage, size))
    print(f"first boot over TLS from a heap of {least} bytes with a token, {with_key} with a key")
    assert with_key - least <= 6 * 1024


def boots_in(stage, size):
    """Whether a first boot works in a heap of `size` bytes; without NVS, since the virtual one is in the heap."""
    board = stage.board(stage.image(), kind="RPI_PICO_W", heap=size)
    return board.run(lambda run: run.has(TELEMETRY + "|MemoryError|memory allocation failed")).has(TELEMETRY)


def test_a_revoked_board_comes_back_with_the_same_key(stage):
    image = stage.image()
    board = stage.board(image)
    with board:
        assert board.wait(TELEMETRY)
        before = record(image)[1]
        stage.standin.delete_device(name_of(board))
        assert board.wait(r"revoked(?s:.)*" + TELEMETRY), board.run_so_far.log
    assert stage.standin.device(name_of(board)).credentials.value == before["certificate"]
    assert record(image) == [VERIFIED, before]


def test_rotation_of_a_boards_own_key(stage):
    stage.files["/app.py"] = ANSWERING
    image = stage.image()
    board = stage.board(image)
    with board:
        assert board.wait(TELEMETRY), board.run_so_far.log
        text = stage.standin.rpc(name_of(board), "rotate")
        before = stage.standin.device(name_of(board)).credentials.value
        assert load(text).subject == load(before).subject and text != before
        state, both = record(image)
        assert (state, both["certificate"], both["next"]["certificate"]) == (VERIFIED, before, text)
        # The operator makes it the device's credentials; the server ends the session.
        stage.standin.set_credentials(name_of(board), x509_certificate(text))
        assert board.wait(r"revoked(?s:.)*" + TELEMETRY), board.run_so_far.log
    assert stage.standin.provision_requests == [name_of(board)]
    state, after = record(image)
    assert state == VERIFIED and after["certificate"] == text and "next" not in after
    assert both["next"]["key"] not in board.run_so_far.log


def told(standin, board, key):
    """Every value of a telemetry key that the server has from this board."""
    try:
        return [value for name, _, value in standin.received(name_of(board)) if name == key]
    except KeyError:
        return []


def test_a_pair_that_is_prepared_but_not_wanted_changes_nothing(stage):
    stage.files["/app.py"] = ROTATING
    image = stage.image()
    board = stage.board(image)
    with board:
        assert stage.standin.wait_for(lambda s: told(s, board, "next"), 20)
    before = record(image)
    stage.standin.events.clear()
    image.put({"/app.py": COUNTING})
    ready(board.run(TELEMETRY))
    assert record(image) == before
    # The device goes: neither is known, both are tried, and the board ends with one of them.
    stage.standin.delete_device(name_of(board))
    ready(board.run("revoked(?s:.)*" + TELEMETRY))
    assert "next" not in record(image)[1]
    assert stage.standin.device(name_of(board)).credentials.value == record(image)[1]["certificate"]


def until_no_cut(board, found):
    """Run a board from the flash it has now again and again, cut at every third flash operation; yields at each end.

    What it is for is one Store.save(), which other tests cut at each of its operations.
    """
    image = board.image
    flash, nvs = image.path.read_bytes(), image.nvs.read_bytes()
    for at in itertools.count(1, 3):
        image.path.write_bytes(flash)
        image.nvs.write_bytes(nvs)
        board.cut = PowerCut(at, TORN[at // 3 % 3])
        run = board.run(found)
        board.cut = None
        if run.ended != "power cut":
            ready(run)
            assert at > 6
            return
        yield


def test_cuts_while_a_boards_own_key_is_rotated(stage):
    image = stage.image()
    image.put({"/app.py": ROTATING})
    board = stage.board(image)
    with board:
        assert board.wait(TELEMETRY)
        assert board.wait(lambda run: "next" in seen_by_server(stage, board))
    flash = image.path.read_bytes()
    state, both = record(image)
    old, new = both["certificate"], both["next"]["certificate"]

    # While the new pair is made and kept: the old one is not lost.
    image.put({"/identity.0": b"", "/identity.1": b""})
    image.nvs.unlink()
    del both["next"]
    plant(image, VERIFIED, both)
    image.nvs.touch()
    for _ in until_no_cut(board, "rotated"):
        assert record(image)[1]["certificate"] == old
        ready(board.run(TELEMETRY))

    # While it takes the place of the old one: the board ends with it.
    image.path.write_bytes(flash)
    image.nvs.unlink()
    image.nvs.touch()
    image.put({"/app.py": COUNTING})
    stage.standin.set_credentials(name_of(board), x509_certificate(new))
    for _ in until_no_cut(board, "revoked(?s:.)*" + TELEMETRY):
        ready(board.run(TELEMETRY))
        state, after = record(image)
        assert (state, after["certificate"]) == (VERIFIED, new) and "next" not in after


def seen_by_server(stage, board):
    """The keys of the telemetry that this board has sent."""
    return [name for name, _, _ in stage.standin.telemetry(name_of(board))]


# Certificates of a CA


class Chain:
    """A stage whose server trusts a CA of `firstboot keys`; boards boot with files of it."""

    def __init__(self, stage, folder, create=True):
        self.stage = stage
        self.folder = folder
        self.authority = make_authority(folder / "ca", folder / "root", "test", 5, None)
        self.server = stage.standin
        key = self.authority.provision_key
        self.server.add_profile("chain", X509_CHAIN, key, None, pattern="(.*)", allow_create=create)
        self.batches = itertools.count()

    def files(self, name, suffix=""):
        """The two files that the tool issues for this name, by their path on the board."""
        folder = self.authority.issue(self.folder / f"out{next(self.batches)}", name, 100).folder
        return {f"/{file}{suffix}": (folder / file).read_bytes() for file in ("cert.der", "key.der")}

    def board(self, files, app=COUNTING):
        image = self.stage.image()
        config = {**self.stage.config, "credentials": "chain"}
        del config["provision"]
        image.put({**files, "/app.py": app, "/config.json": json.dumps(config).encode()})
        return image, self.stage.board(image)

    def leaf(self, name):
        return load(self.server.device(name).credentials.value)


@pytest.fixture
def chain(stage, tmp_path):
    return Chain(stage, tmp_path)


def first_certificate(data):
    return x509.load_der_x509_certificate(data[: 4 + int.from_bytes(data[2:4], "big")])


@both_tls
def test_a_chain_needs_no_request(chain):
    files = chain.files("press-17")
    image, board = chain.board(files)
    ready(board.run(TELEMETRY))
    assert [device.name for device in chain.server.devices()] == ["press-17"]
    assert chain.leaf("press-17") == first_certificate(files["/cert.der"])
    assert chain.server.provision_requests == []
    assert record(image) == [VERIFIED, {"credentialsType": "X509_CERTIFICATE", "files": ["cert.der", "key.der"]}]
    ready(board.run(TELEMETRY))
    assert {path: image.get(path) for path in files} == files


def test_a_chain_for_which_nothing_is_prepared_is_tried_slowly(stage, tmp_path):
    chain = Chain(stage, tmp_path, create=False)
    _, board = chain.board(chain.files("press-17"))
    ready(
        board.run(r"(does not know these credentials: CONNACK code 5(?s:.)*profile of strategy X.509 chain(?s:.)*){2}")
    )
    assert chain.server.devices() == []


def test_a_new_leaf_takes_the_place_of_the_old_one(chain):
    old = chain.files("press-17")
    image, board = chain.board(old)
    ready(board.run(TELEMETRY))
    new = chain.files("press-17", ".new")
    image.put({**new, "/app.py": ROTATING})
    with board:
        assert chain.server.wait_for(lambda s: [v for n, _, v in s.telemetry("press-17") if n == "next"], 20)
    # From the next start on.
    assert record(image)[1]["files"] == ["cert.der.new", "key.der.new"]
    image.put({"/app.py": COUNTING})
    ready(board.run(TELEMETRY))
    assert chain.leaf("press-17") == first_certificate(new["/cert.der.new"])
    assert record(image) == [VERIFIED, {"credentialsType": "X509_CERTIFICATE", "files": ["cert.der", "key.der"]}]
    assert {path: image.get(path) for path in old} == {path: new[path + ".new"] for path in old}
    assert not [path for path in image.ls() if path.endswith(".new")]
    ready(board.run(TELEMETRY))


def test_a_cut_at_any_flash_operation_of_a_rotation(chain):
    old, new = chain.files("press-17"), chain.files("press-17", ".new")
    names = ["cert.der", "key.der"]
    kept = {"credentialsType": "X509_CERTIFICATE", "files": names}
    waiting = {**kept, "files": [name + ".new" for name in names], "next": kept}
    for at in itertools.count(1):
        image, board = chain.board({**old, **new})
        plant(image, ASKED, waiting)
        board.cut = PowerCut(at, TORN[at % 3])
        run = board.run(TELEMETRY)
        was_cut = run.ended == "power cut"
        if was_cut:
            board.cut = None
            run = board.run(TELEMETRY)
        ready(run)
        assert chain.leaf("press-17") == first_certificate(new["/cert.der.new"])
        assert record(image) == [VERIFIED, kept]
        assert {path: image.get(path) for path in old} == {path: new[path + ".new"] for path in old}
        if not was_cut:
            break
    assert at > 4


# Who is not let in, and what the log says of it


def sealed(name, key, issuer, issuer_key, start=-1, end=2):
    """A certificate, DER."""
    names = [x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)]) for text in (issuer, name)]
    builder = x509.CertificateBuilder(*names, key.public_key(), x509.random_serial_number())
    builder = builder.not_valid_before(NOW + start * DAY).not_valid_after(NOW + end * DAY)
    return builder.sign(issuer_key, hashes.SHA256()).public_bytes(serialization.Encoding.DER)


def key_der(key):
    traditional = serialization.PrivateFormat.TraditionalOpenSSL
    return key.private_bytes(serialization.Encoding.DER, traditional, serialization.NoEncryption())


def own_credentials(certificate, key):
    texts = {"certificate": base64.b64encode(certificate).decode(), "key": base64.b64encode(key_der(key)).decode()}
    return {"credentialsType": "X509_CERTIFICATE", **texts}


@both_tls
@pytest.mark.parametrize("case", ["expired", "not yet valid", "of another key", "of another device"])
def test_a_certificate_that_the_server_refuses(stage, case):
    key, other = [ec.generate_private_key(ec.SECP256R1()) for _ in range(2)]
    start, end = {"expired": (-3, -1), "not yet valid": (1, 2)}.get(case, (-1, 1))
    shown = sealed("board", key, "board", key, start, end)
    known = sealed("board", other, "board", other) if case == "of another device" else shown
    profile = stage.standin.add_profile("given", key="given", secret="given")
    stage.standin.add_device("board", profile, x509_certificate(base64.b64encode(known).decode()))
    image = stage.image()
    plant(image, VERIFIED, own_credentials(shown, other if case == "of another key" else key))
    reason = REFUSED if case == "of another key" else "telemetry: the server refuses this board: CONNACK code 5"
    run = ready(stage.board(image).run(reason))
    assert not run.has(TELEMETRY)


@both_tls
def test_a_chain_whose_issuer_did_not_sign_is_refused_in_the_handshake(chain):
    files = chain.files("press-17")
    key, forger = [ec.generate_private_key(ec.SECP256R1()) for _ in range(2)]
    middle = chain.authority.certificate
    forged = sealed("press-17", key, "test devices", forger) + middle.public_bytes(serialization.Encoding.DER)
    _, board = chain.board({**files, "/cert.der": forged, "/key.der": key_der(key)})
    ready(board.run(REFUSED))
    assert chain.server.devices() == []


def test_a_chain_of_another_ca_is_refused_at_connect(chain, tmp_path):
    other = make_authority(tmp_path / "other", tmp_path / "other", "other", 5, None)
    folder = other.issue(tmp_path / "out", "press-17", 100).folder
    _, board = chain.board(
        {"/cert.der": (folder / "cert.der").read_bytes(), "/key.der": (folder / "key.der").read_bytes()}
    )
    ready(board.run("does not know these credentials: CONNACK code 5"))
    assert chain.server.devices() == []


def damaged(files, case, chain):
    leaf, key = files["/cert.der"], files["/key.der"]
    size = 4 + int.from_bytes(leaf[2:4], "big")
    mine = ec.generate_private_key(ec.SECP256R1())
    return {
        "damaged certificate": (leaf[:-1], key),
        "damaged key": (leaf, key[:-1]),
        "key does not match the certificate": (leaf, chain.files("other")["/key.der"]),
        "chain in the wrong order": (leaf[size:] + leaf[:size], key),
        "certificate expired": (sealed("press-17", mine, "x", mine, -3, -1), key_der(mine)),
        "certificate not yet valid": (sealed("press-17", mine, "x", mine, 1, 2), key_der(mine)),
    }[case]


@pytest.mark.parametrize(
    "case",
    [
        "damaged certificate",
        "damaged key",
        "key does not match the certificate",
        "chain in the wrong order",
        "certificate expired",
        "certificate not yet valid",
    ],
)
def test_files_that_are_no_use_are_told_and_left_alone(chain, case):
    certificate, key = damaged(chain.files("press-17"), case, chain)
    files = {"/cert.der": certificate, "/key.der": key}
    image, board = chain.board(files)
    run = ready(board.run(f"can't be reached: TLS: .*cert.der, key.der: {case}"))
    assert {path: image.get(path) for path in files} == files
    assert not run.has(TELEMETRY) and chain.server.devices() == []
    assert base64.b64encode(key).decode()[:40] not in run.log


def test_a_board_prints_a_request_and_starts_with_the_answer(chain, tmp_path):
    image, board = chain.board({"/main.py": b"from firstboot import x509\n\nx509.request()\n"})
    run = board.run()
    assert run.ended == "idle", run.log
    [request] = re.findall(r"-----BEGIN[^-]*-----(?s:.)*?-----END[^-]*-----", run.log)
    csr = tmp_path / "board.log"
    csr.write_text(run.log)
    result = CliRunner().invoke(app_of_keys, ["issue", str(tmp_path / "ca"), "--request", str(csr)])
    assert result.exit_code == 0, result.output
    name = name_of(board)
    folder = tmp_path / "ca" / "boards" / name
    assert [path.name for path in folder.iterdir()] == ["cert.der"]  # the key stays on the board
    image.put({"/main.py": firmware()["/main.py"], "/cert.der": (folder / "cert.der").read_bytes()})
    ready(board.run(TELEMETRY))
    assert chain.leaf(name) == first_certificate((folder / "cert.der").read_bytes())
    assert chain.leaf(name).public_key() == x509.load_pem_x509_csr(request.encode()).public_key()


def test_a_secure_element_on_a_port_that_can_not_ask_it(chain):
    files = {**chain.files("press-17"), "/secure_element.py": b"def sign(key, digest):\n    return None\n"}
    _, board = chain.board(files)
    ready(board.run("TLS: there is a secure_element, but this MicroPython's tls can't ask one to sign"))
