"""The handshake: every pair of the table, what is on flash when, and power cuts at every step."""

import json
import re

import pytest
from firstboot.handshake import TABLE
from firstboot.provision import Provisioner
from firstboot.store import ASKED, CANDIDATE, EMPTY, VERIFIED, VERIFYING, Store

from .fakes import NAME, OWN, Denied, LinkError, MemorySlot, ScriptedLink, Server, ServerLink, Stop, refusal, success

CONFLICT = 0x50
MADE, GRANTED, NOT_FOUND, FAILURE, LOST, ACCEPTED, DENIED, OFFLINE = range(8)

# What makes each event happen: the result of the verb that the state's action calls.
RESULTS = {
    GRANTED: success(),
    NOT_FOUND: refusal("NOT_FOUND"),
    FAILURE: refusal("FAILURE"),
    LOST: LinkError("no answer"),
    ACCEPTED: None,
    DENIED: Denied("CONNACK code 5"),
    OFFLINE: LinkError("no route"),
}

# (state, event) -> the steps from that state's action on, up to and with the next action.
STEPS = {
    (EMPTY, MADE): ["make", "ask"],
    (CANDIDATE, GRANTED): ["ask", "open"],
    (CANDIDATE, NOT_FOUND): ["ask", "slow", "ask"],
    (CANDIDATE, FAILURE): ["ask", "open"],
    (CANDIDATE, LOST): ["ask", "soon", "open"],
    (ASKED, ACCEPTED): ["open", "end"],
    (ASKED, DENIED): ["open", "ask"],
    (ASKED, OFFLINE): ["open", "soon", "open"],
    (VERIFYING, ACCEPTED): ["open", "end"],
    (VERIFYING, DENIED): ["open", "soon", "ask"],
    (VERIFYING, OFFLINE): ["open", "soon", "open"],
    (CONFLICT, ACCEPTED): ["open", "end"],
    (CONFLICT, DENIED): ["open", "slow", "ask"],
    (CONFLICT, OFFLINE): ["open", "soon", "open"],
    # A candidate that is never asked with: a certificate of a CA that the server trusts.
    (CANDIDATE, ACCEPTED): ["open", "end"],
    (CANDIDATE, DENIED): ["open", "slow", "open"],
    (CANDIDATE, OFFLINE): ["open", "soon", "open"],
}
FILES = {"credentialsType": "X509_CERTIFICATE", "files": ["cert.der", "key.der"]}


class Board:
    """A Provisioner on slots in memory; `steps` has its actions and pauses in order."""

    def __init__(self, *script, state=EMPTY, own=OWN, slots=None):
        self.steps = []
        self.slots = slots or [MemorySlot(), MemorySlot()]
        self.store = Store(self.slots)
        if state != EMPTY:
            self.store.save(state, own)
        self.link = ScriptedLink(*script, steps=self.steps)
        self.own = own

    def make(self):
        self.steps.append("make")
        return self.own

    def pause(self, is_slow):
        self.steps.append("slow" if is_slow else "soon")
        if len(self.steps) > 60:
            raise Stop

    def run(self):
        """Run to the end of the handshake or of the script; returns the steps."""
        try:
            Provisioner(self.link, self.store, NAME, "key", "secret", self.make, self.pause).run()
            self.steps.append("end")
        except Stop:
            pass
        return self.steps

    @property
    def flash(self):
        """State and credentials that a boot would find now."""
        store = Store(self.slots)
        return store.state, store.credentials


def test_the_table_has_the_pairs_that_can_happen():
    assert {state + event for state, event in STEPS} == set(TABLE)


@pytest.mark.parametrize(("state", "event"), STEPS)
def test_pair(state, event):
    before = [refusal("FAILURE")] if state == CONFLICT else []
    script = before + ([] if event == MADE else [RESULTS[event]])
    own = FILES if state == CANDIDATE and event >= ACCEPTED else OWN
    board = Board(*script, state=CANDIDATE if state == CONFLICT else state, own=own)
    assert board.run()[len(before) :] == STEPS[state, event]
    if event == ACCEPTED:
        assert board.flash == (VERIFIED, own)
    else:
        assert board.flash[0] != VERIFIED
        assert board.flash[1] == own  # no event but a grant ever touches the credentials


def test_the_candidate_is_on_flash_before_the_server_hears_of_it():
    found = []
    board = Board()
    board.link.ask = lambda request: found.append((board.flash, json.loads(request)["token"])) or success()
    board.link.open = lambda credentials: None
    assert board.run()[-1] == "end"
    assert found == [((ASKED, OWN), OWN["token"])]


def test_what_the_server_grants_is_on_flash_before_it_is_tried():
    granted = {"credentialsType": "ACCESS_TOKEN", "token": "from-the-server"}
    found = []
    board = Board(success(granted))
    board.link.open = lambda credentials: found.append((board.flash, credentials))
    board.run()
    assert found == [((VERIFYING, granted), granted)]
    assert board.flash == (VERIFIED, granted)


def test_granted_credentials_may_be_of_another_type():
    value = {"clientId": "c", "userName": "u", "password": "p"}
    doc = {"status": "SUCCESS", "credentialsType": "MQTT_BASIC", "credentialsValue": value}
    board = Board(json.dumps(doc).encode(), None)
    assert board.run() == ["make", "ask", "open", "end"]
    expected = {"credentialsType": "MQTT_BASIC", "clientId": "c", "username": "u", "password": "p"}
    assert board.flash == (VERIFIED, expected)


@pytest.mark.parametrize("lost", [LinkError("closed"), OSError(104, "ECONNRESET"), b"<html>", b""])
def test_a_lost_answer_is_found_again_by_trying(lost):
    board = Board(lost, None)
    assert board.run() == ["make", "ask", "soon", "open", "end"]
    assert board.flash == (VERIFIED, OWN)


def test_failure_with_own_credentials_that_the_server_accepts():
    board = Board(refusal("FAILURE"), None)
    assert board.run() == ["make", "ask", "open", "end"]
    assert board.flash == (VERIFIED, OWN)


@pytest.mark.parametrize("own", [OWN, None], ids=["own", "server"])
def test_a_foreign_device_of_this_name_is_told_in_one_line_and_asked_about_slowly(own, capsys):
    # In mode "server" there are no credentials to try.
    tries = [refusal("FAILURE"), Denied("CONNACK code 5")] if own else [refusal("FAILURE")]
    board = Board(*tries * 3, success(), None, own=own)
    steps = ["ask", "open", "slow"] if own else ["ask", "slow"]
    assert board.run() == ["make", *steps * 3, "ask", "open", "end"]
    lines = capsys.readouterr().out.splitlines()
    assert all(re.match(r" *\d+\.\d{3} provision: ", line) for line in lines)
    told = [line for line in lines if "credentials that this board does not hold" in line]
    assert len(told) == 3
    for word in (NAME, "delete this device", "provisionState", "create it"):
        assert word in told[0]


def test_not_found_names_the_fields_and_waits_slowly(capsys):
    board = Board(*[refusal("NOT_FOUND")] * 3, success(), None)
    assert board.run() == ["make", *["ask", "slow"] * 3, "ask", "open", "end"]
    out = capsys.readouterr().out
    assert "provision.key" in out and "provision.secret" in out


def test_server_mode_asks_without_credentials_and_keeps_what_it_gets():
    granted = {"credentialsType": "ACCESS_TOKEN", "token": "from-the-server"}
    board = Board(success(granted), None, own=None)
    assert board.run() == ["make", "ask", "open", "end"]
    assert "token" not in json.loads(board.link.requests[0])
    assert board.flash == (VERIFIED, granted)


def test_server_mode_has_nothing_to_try_after_a_lost_answer():
    # One LOST, then FAILURE for ever: the documented price of this mode. It never connects as somebody else.
    board = Board(LinkError("no answer"), refusal("FAILURE"), refusal("FAILURE"), own=None)
    assert board.run() == ["make", "ask", "soon", "ask", "slow", "ask", "slow", "ask"]
    assert board.link.opened == []


def test_a_full_flash_keeps_asking_off():
    board = Board(success(), None)
    for slot in board.slots:
        slot.full = True
    freed = board.pause

    def pause(is_slow):
        assert board.link.requests == []
        freed(is_slow)
        if board.steps.count("soon") == 3:
            for slot in board.slots:
                slot.full = False

    board.pause = pause
    assert board.run() == ["make", "soon", "soon", "soon", "ask", "open", "end"]
    assert board.flash == (VERIFIED, OWN)


def test_a_full_flash_keeps_asking_off_in_server_mode_too():
    board = Board(own=None)
    for slot in board.slots:
        slot.full = True
    board.run()
    assert board.link.requests == []


def test_a_flash_that_fills_up_later_loses_no_grant():
    granted = {"credentialsType": "ACCESS_TOKEN", "token": "from-the-server"}
    board = Board(own=None)

    def fill(request):
        for slot in board.slots:
            slot.full = True
        return success(granted)

    def pause(is_slow):
        for slot in board.slots:
            slot.full = len(board.steps) < 3
        board.steps.append("soon")

    board.link.ask, board.pause = fill, pause
    board.link.script = [None]
    assert board.run()[-2:] == ["open", "end"]
    assert board.flash == (VERIFIED, granted)


CERTIFICATE = {"credentialsType": "X509_CERTIFICATE", "certificate": "MIIBown", "key": "private"}


def certificate_answer(text):
    """The server's answer that echoes a certificate."""
    return json.dumps({"status": "SUCCESS", "credentialsType": "X509_CERTIFICATE", "credentialsValue": text}).encode()


def test_its_own_certificate_comes_back_and_the_key_stays():
    board = Board(certificate_answer("MIIBown"), None, own=CERTIFICATE)
    assert board.run() == ["make", "ask", "open", "end"]
    assert board.flash == (VERIFIED, CERTIFICATE)


@pytest.mark.parametrize("own", [CERTIFICATE, OWN, None])
def test_a_certificate_without_its_key_is_no_answer(own):
    board = Board(certificate_answer("MIIBother"), own=own)
    assert board.run()[:3] == ["make", "ask", "soon"]
    assert board.flash == (ASKED, own)


def test_a_chain_is_never_asked_with():
    board = Board(LinkError("no route"), Denied("CONNACK code 5"), None, own=FILES)
    assert board.run() == ["make", "open", "soon", "open", "slow", "open", "end"]
    assert board.link.requests == [] and board.flash == (VERIFIED, FILES)


NEXT = {"credentialsType": "X509_CERTIFICATE", "certificate": "MIIBnext", "key": "other"}


def test_a_rotation_that_the_server_refuses_goes_back_and_forth_until_it_accepts_one():
    board = Board(Denied("CONNACK code 5"), refusal("FAILURE"), Denied("CONNACK code 5"), refusal("FAILURE"), None)
    board.store.save(ASKED, {**NEXT, "next": CERTIFICATE})
    assert board.run() == ["open", "ask", "open", "slow", "ask", "open", "end"]
    assert [c["certificate"] for c in board.link.opened] == ["MIIBnext", "MIIBown", "MIIBnext"]
    assert [json.loads(r)["hash"] for r in board.link.requests] == ["MIIBown", "MIIBnext"]
    assert all(b"private" not in r and b"other" not in r and b"next" not in r[:60] for r in board.link.requests)
    assert board.flash == (VERIFIED, NEXT)


def test_a_new_chain_that_the_server_refuses_leaves_the_old_one():
    new = {"credentialsType": "X509_CERTIFICATE", "files": ["cert.der.new", "key.der.new"], "next": FILES}
    board = Board(LinkError("no route"), Denied("CONNACK code 5"), None)
    board.store.save(ASKED, new)
    assert board.run() == ["open", "soon", "open", "open", "end"]
    assert [c["files"][0] for c in board.link.opened] == ["cert.der.new", "cert.der.new", "cert.der"]
    assert board.flash == (VERIFIED, FILES)


def test_the_link_is_closed_between_asking_and_trying():
    closes = []
    board = Board(success())
    board.link.open = lambda credentials: closes.append(board.link.closes)
    board.run()
    assert closes == [1]


class PowerCut(BaseException):
    """The lights go out."""


class Supply:
    """Power for `ticks` more steps."""

    def __init__(self, ticks):
        self.left = ticks

    def tick(self):
        self.left -= 1
        if self.left == 0:
            raise PowerCut


def boot(slots, server, supply, own):
    """One boot. PowerCut when the power went away during it."""
    for slot in slots:
        slot.tick = supply.tick
    store = Store(slots)
    made = iter([own])
    pauses = iter(range(50))

    def pause(is_slow):
        if next(pauses, None) is None:
            raise AssertionError("stuck")

    Provisioner(ServerLink(server, supply.tick), store, NAME, "k", "s", lambda: next(made), pause).run()


@pytest.mark.parametrize("first", range(1, 30))
def test_power_cuts_anywhere_end_with_one_device_and_its_owner(first):
    for second in range(30):
        server, slots = Server(), [MemorySlot(), MemorySlot()]
        tokens = iter(["a" * 32, "b" * 32, "c" * 32])
        for ticks in (first, second, 0):
            try:
                boot(slots, server, Supply(ticks), {"credentialsType": "ACCESS_TOKEN", "token": next(tokens)})
            except PowerCut:
                continue
            break
        store = Store(slots)
        assert store.state == VERIFIED
        assert server.devices == {NAME: store.credentials["token"]}
