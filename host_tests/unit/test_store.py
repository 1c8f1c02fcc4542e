"""The identity on flash: two slots, a CRC, and a copy in NVS."""

import os
import re
import sys
from pathlib import Path

import esp32
import pytest
from firstboot import board, record_write
from firstboot.store import ASKED, CANDIDATE, EMPTY, VERIFIED, VERIFYING, Store

from tools.places import FIRMWARE

from .fakes import OWN, MemorySlot

NEW = {"credentialsType": "MQTT_BASIC", "clientId": "Ünï", "username": None, "password": "p"}


def found(slots):
    """What a boot reads: (state, credentials)."""
    store = Store(slots)
    return store.state, store.credentials


def two_records():
    """Slots with an older and a newer record, and the number of the newer one's slot."""
    slots = [MemorySlot(), MemorySlot()]
    store = Store(slots)
    store.save(ASKED, OWN)
    older = [slot.data for slot in slots]
    store.save(VERIFIED, NEW)
    newer = next(i for i in (0, 1) if slots[i].data != older[i])
    return slots, newer


def test_the_states_are_the_same_wherever_they_are_written_out():
    states = {name: value for name, value in vars(sys.modules[Store.__module__]).items() if name.isupper()}
    assert {"EMPTY", "CANDIDATE", "ASKED", "VERIFYING", "VERIFIED"} <= set(states)
    written = [
        (path.name, name, int(value, 0))
        for path in (FIRMWARE / "firstboot").glob("*.py")
        for name, value in re.findall(r"^_(\w+) = const\((\w+)\)", path.read_text(), re.M)
        if name in states
    ]
    assert written
    assert [each for each in written if each[2] != states[each[1]]] == []


def test_an_empty_flash():
    assert found([MemorySlot(), MemorySlot()]) == (EMPTY, None)


@pytest.mark.parametrize("state", [EMPTY, CANDIDATE, ASKED, VERIFYING, VERIFIED])
@pytest.mark.parametrize("credentials", [None, OWN, NEW])
def test_what_is_saved_is_read(state, credentials):
    slots = [MemorySlot(), MemorySlot()]
    store = Store(slots)
    store.save(state, credentials)
    assert (store.state, store.credentials) == (state, credentials)
    assert found(slots) == (state, credentials)


def test_the_slots_are_written_in_turn():
    slots = [MemorySlot(), MemorySlot()]
    store = Store(slots)
    written = []
    for n in range(6):
        before = [slot.data for slot in slots]
        store.save(CANDIDATE, {"token": str(n)})
        changed = [i for i in (0, 1) if slots[i].data != before[i]]
        assert len(changed) == 1
        written += changed
        assert found(slots) == (CANDIDATE, {"token": str(n)})
        store = Store(slots) if n % 2 else store  # a restart goes on where it was
    assert written in ([0, 1] * 3, [1, 0] * 3)


def test_a_broken_newer_slot_leaves_the_older_record():
    for broken in (b"", b"\xff" * 64, b"{", b"00000000[]", b"[1,2,3]", b"\0" * 512):
        slots, newer = two_records()
        slots[newer].data = broken
        assert found(slots) == (ASKED, OWN)


def test_a_broken_older_slot_does_no_harm():
    for broken in (b"", b"\xff" * 64, b"{", b"00000000[]", b"\0" * 512):
        slots, newer = two_records()
        slots[1 - newer].data = broken
        assert found(slots) == (VERIFIED, NEW)


def test_both_broken_is_an_empty_flash():
    assert found([MemorySlot(b"\xff" * 99), MemorySlot(b"12345678")]) == (EMPTY, None)


@pytest.mark.parametrize("victim", ["newer", "older"])
def test_a_slot_cut_anywhere(victim):
    slots, newer = two_records()
    slot = slots[newer if victim == "newer" else 1 - newer]
    whole = slot.data
    for size in range(len(whole)):
        slot.data = whole[:size]
        assert found(slots) == ((ASKED, OWN) if victim == "newer" else (VERIFIED, NEW)), size


@pytest.mark.parametrize("victim", ["newer", "older"])
def test_a_flipped_bit_anywhere(victim):
    slots, newer = two_records()
    slot = slots[newer if victim == "newer" else 1 - newer]
    whole = slot.data
    for position in range(len(whole)):
        for bit in range(8):
            data = bytearray(whole)
            data[position] ^= 1 << bit
            slot.data = bytes(data)
            # A flip may leave the same number ("a" and "A" in the CRC); it never makes another record.
            assert found(slots) in ([(ASKED, OWN), (VERIFIED, NEW)] if victim == "newer" else [(VERIFIED, NEW)])


def test_the_next_record_after_damage_wins():
    slots, newer = two_records()
    slots[newer].data = b"garbage"
    Store(slots).save(CANDIDATE, OWN)
    assert found(slots) == (CANDIDATE, OWN)


def test_a_full_flash_leaves_the_old_record_and_can_be_tried_again():
    slots = [MemorySlot(), MemorySlot()]
    store = Store(slots)
    store.save(ASKED, OWN)
    for slot in slots:
        slot.full = True
    for _ in range(3):
        with pytest.raises(OSError):
            store.save(VERIFIED, NEW)
        assert (store.state, store.credentials) == (ASKED, OWN)
        assert found(slots) == (ASKED, OWN)
    for slot in slots:
        slot.full = False
    store.save(VERIFIED, NEW)
    assert found(slots) == (VERIFIED, NEW)


def test_a_file_is_replaced_and_nothing_else_is_left():
    record_write.rewrite("record", b"one")
    record_write.rewrite("record", b"two")
    assert Path("record").read_bytes() == b"two"
    assert os.listdir() == ["record"]


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs a device that is always full")
def test_a_full_file_system_leaves_the_old_file():
    record_write.rewrite("record", b"one")
    os.symlink("/dev/full", "record.new")
    with pytest.raises(OSError):
        record_write.rewrite("record", b"two")
    assert Path("record").read_bytes() == b"one"


def test_the_board_keeps_a_copy_in_nvs_that_wins_when_the_files_are_gone():
    Store(board.slots()).save(CANDIDATE, OWN)
    Store(board.slots()).save(VERIFIED, NEW)
    for name in os.listdir():
        os.remove(name)
    assert found(board.slots()) == (VERIFIED, NEW)
    Store(board.slots()).save(VERIFIED, OWN)
    assert found(board.slots()) == (VERIFIED, OWN)
    esp32.erase()
    assert found(board.slots()) == (VERIFIED, OWN)  # from the file alone


def test_newer_files_win_over_an_old_copy():
    Store(board.slots()).save(CANDIDATE, OWN)
    files = board.slots()[:2]
    Store(files).save(VERIFIED, NEW)
    assert found(board.slots()) == (VERIFIED, NEW)


def test_a_broken_copy_does_no_harm():
    Store(board.slots()).save(VERIFIED, OWN)
    nvs = esp32.NVS("firstboot")
    nvs.set_blob("identity", b"garbage")
    nvs.commit()
    assert found(board.slots()) == (VERIFIED, OWN)


def test_a_copy_that_can_not_be_written_is_told_and_no_more(capsys):
    copy = MemorySlot()
    copy.full = True
    slots = [MemorySlot(), MemorySlot(), copy]
    Store(slots).save(VERIFIED, OWN)
    assert found(slots[:2]) == (VERIFIED, OWN)
    assert "flash" in capsys.readouterr().out


def test_a_port_without_nvs(no_nvs):
    assert sys.modules["esp32"] is None
    slots = board.slots()
    assert len(slots) == 2
    Store(slots).save(VERIFIED, OWN)
    assert found(board.slots()) == (VERIFIED, OWN)


def test_a_power_cut_between_file_and_rename():
    files = board.slots()[:2]
    Store(files).save(ASKED, OWN)
    for name in os.listdir():
        Path(name + ".new").write_bytes(b"half a rec")
    assert found(files) == (ASKED, OWN)
    Store(files).save(VERIFIED, NEW)
    Store(files).save(VERIFIED, OWN)
    assert found(files) == (VERIFIED, OWN)
