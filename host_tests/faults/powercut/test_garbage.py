"""Any single block with the identity in it is overwritten; and what is left when the whole file system is gone."""

import random
from collections import Counter

import pytest

from tools.standin.provisioning import ALLOW_CREATE
from tools.vboard.image import BLOCK

from .. import effort
from .simulator import CONFLICT, DONE, PATIENCE, Bench, Scenario
from .test_powercut import PICO, naive

pytestmark = [pytest.mark.vm, pytest.mark.timeout(1800 if effort.ALL else 300)]

SCENARIOS = [
    Scenario(f"{mode}, {kind}", kind, mode)
    for kind in ("ESP32_GENERIC", PICO)
    for mode in ("token", "server", "basic", "derived")
]


def patterns():
    """What a block is overwritten with: functions from the block to other bytes."""

    def noise(seed):
        return lambda block: random.Random(seed).randbytes(BLOCK)

    def flip(seed):
        def flipped(block):
            draw, block = random.Random(seed), bytearray(block)
            used = [i for i, byte in enumerate(block) if byte != 0xFF] or range(BLOCK)
            block[draw.choice(used)] ^= 1 << draw.randrange(8)
            return block

        return flipped

    yield from (("zeros", lambda block: bytes(BLOCK)), ("erased", lambda block: b"\xff" * BLOCK))
    yield from ((f"noise {seed}", noise(seed)) for seed in range(5 if effort.ALL else 1))
    yield from ((f"bit {seed}", flip(seed)) for seed in range(50 if effort.ALL else 3))


def provisioned(bench):
    """Provision the bench's board; returns the blocks that this wrote to."""
    bench.rewind()
    run = bench.board(trace=True).run(DONE, PATIENCE)
    assert run.ended == "found", run.log
    bench.flash = bench.image.path.read_bytes()
    bench.nvs = bench.image.nvs.read_bytes() if bench.image.nvs.exists() else None
    bench.restock = lambda: None  # the server goes on knowing the device
    return sorted({block for block in run.event("flash") if block != "nvs"})


def overwrite(bench, block, pattern):
    """The board as it was, but for this block."""
    bench.rewind()
    data = bytearray(bench.flash)
    at = block * BLOCK
    data[at : at + BLOCK] = pattern(data[at : at + BLOCK])
    bench.image.path.write_bytes(data)


def ends(bench, blocks):
    """How the board ends with each of these blocks overwritten: a Counter, and the log of the worst end."""
    found, log = Counter(), ""
    asked = len(bench.standin.provision_requests)
    for block in blocks:
        for name, pattern in patterns():
            overwrite(bench, block, pattern)
            ended, said = bench.finish()
            if ended == "right" and len(bench.standin.provision_requests) > asked:
                ended = "asked again"
            asked = len(bench.standin.provision_requests)
            found[ended] += 1
            if ended != "right":
                log = f"block {block}, {name}: {ended}\n{said}"
    return found, log


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda s: s.name)
def test_garbage_in_any_block_of_the_identity(scenario, record_property):
    with Bench(scenario) as bench:
        blocks = provisioned(bench)
        found, log = ends(bench, blocks)
    total = sum(found.values())
    record_property(
        "figures", f"garbage, {scenario.name}: {len(blocks)} blocks, {total} ways, {found['right']} end right"
    )
    assert found["right"] == total, log


def test_a_naive_store_is_caught(record_property):
    scenario = naive("store", kind=PICO)
    with Bench(scenario) as bench:
        found, _ = ends(bench, provisioned(bench))
    record_property("figures", f"garbage, naive store: {found['locked out']} of {sum(found.values())} lock it out")
    assert found["locked out"]


def without_file_system(bench):
    """Both copies of the superblock are garbage: power the board up and return what it says."""
    bench.rewind()
    data = bytearray(bench.flash)
    data[: 2 * BLOCK] = random.Random(1).randbytes(2 * BLOCK)
    bench.image.path.write_bytes(data)
    return bench.board().run(lambda run: run.has("corrupted"), PATIENCE)


def flashed_anew(bench):
    """A person flashes firmware and config again; NVS stays."""
    fresh = bench.stage.image()
    bench.image.path.write_bytes(fresh.path.read_bytes())
    asked = len(bench.standin.provision_requests)
    with bench.board() as board:
        board.wait(lambda run: run.has(DONE) or run.has(CONFLICT), PATIENCE)
    return board.run_so_far, len(bench.standin.provision_requests) - asked


@pytest.mark.parametrize("mode", ["token", "server", "basic", "derived"])
def test_an_esp32_keeps_its_identity_when_the_file_system_is_flashed_anew(mode):
    with Bench(Scenario(mode, credentials=mode)) as bench:
        provisioned(bench)
        assert without_file_system(bench).has("The filesystem appears to be corrupted")
        run, asked = flashed_anew(bench)
        assert run.has(DONE) and asked == 0, run.log
        assert bench.wrong() is None


@pytest.mark.parametrize("mode", ["token", "derived"])
def test_an_rp2_formats_its_file_system_and_only_a_derived_token_comes_back(mode):
    # Firmware and config are gone with it: the port starts an empty file system. Flashed anew, the board asks again.
    with Bench(Scenario(mode, PICO, mode, ALLOW_CREATE)) as bench:
        provisioned(bench)
        assert without_file_system(bench).ended == "idle"
        assert bench.image.ls() == {}
        run, asked = flashed_anew(bench)
        assert asked
        assert run.has(DONE if mode == "derived" else CONFLICT), run.log
        assert len(bench.standin.devices()) == 1
