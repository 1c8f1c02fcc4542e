"""Power cuts while the outbox fills and while it drains: what was on flash reaches the server, each sample once."""

import re
from binascii import crc32
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import pytest

from tools.vboard import PowerCut

from .. import effort
from .simulator import DONE, PATIENCE, WORKERS, Bench, Scenario, every_cut
from .test_powercut import PICO

pytestmark = [pytest.mark.vm, pytest.mark.timeout(1800 if effort.ALL else 300)]

# Each sample's value is its own, also after a reset.
APP = b"""\
import os
from binascii import hexlify

mark = hexlify(os.urandom(4)).decode()
count = 0


def read():
    global count
    count += 1
    return {"n": "%s-%d" % (mark, count)}
"""
QUICK = {"period": 0.02, "outbox": {"writes_per_hour": 3600}}
EMPTY = "outbox: empty"
KINDS = ["ESP32_GENERIC", PICO]


def bench(kind):
    return Bench(Scenario(f"outbox, {kind}", kind, before="verified", files={"/app.py": APP}, config=QUICK))


def kept(image):
    """The samples in the outbox on flash, as text, with their times; those without a time have None."""
    found = {}
    for path in sorted(image.ls()):
        if not path.startswith("/outbox."):
            continue
        data = image.get(path)
        for record in re.finditer(rb"\x1e([0-9a-f]{4})([0-9a-f]{8})", data):
            body = data[record.end() : record.end() + int(record[1], 16)]
            if crc32(body) == int(record[2], 16) and (sample := re.match(rb'(\+?)(\d+),\{"n": "([^"]+)"\}', body)):
                found[sample[3].decode()] = None if sample[1] else int(sample[2])
    return found


def server_has(bench):
    """The samples on the server: value -> the times that it came with."""
    found = {}
    for device in bench.standin.devices():
        for name, ts, value in bench.standin.telemetry(device.name):
            if name == "n":
                found.setdefault(value, []).append(ts)
    return found


def back(bench):
    """The board and the server as they were, and the board is known."""
    bench.image.path.write_bytes(bench.flash)
    if bench.nvs is not None:
        bench.image.nvs.write_bytes(bench.nvs)


def drained(bench, expected):
    """Power up with a server; "right" when everything in `expected` (value -> time) is there, once."""
    run = bench.board().run(EMPTY if expected else DONE, PATIENCE)
    if run.ended != "found":
        return f"not drained ({run.ended})\n{run.log}"
    there = server_has(bench)
    lost = [value for value in expected if value not in there]
    if lost:
        return f"{len(lost)} of {len(expected)} samples on flash are lost\n{run.log}"
    twice = [v for v, ts in expected.items() if ts is not None and set(there[v]) != {ts}]
    if twice:
        return f"{len(twice)} samples came with another time\n{run.log}"
    if len(bench.standin.devices()) != 1 or kept(bench.image):
        return f"something is left\n{run.log}"
    return "right"


def fill(bench, cut=None, most=None):
    """Run the board without a server until the power goes, or until `most` flash operations were done."""
    bench.standin.stop()
    try:
        board = bench.board(cut=cut, trace=True)
        return board.run(lambda run: most is not None and len(run.event("flash")) >= most, PATIENCE)
    finally:
        bench.standin.start()


def share_out(kind, chosen, case):
    """[(cut, end)] of case(bench, cut) for each cut, on as many benches as there are workers."""

    def work(cuts):
        with bench(kind) as here:
            register(here)
            return [(cut, case(here, cut)) for cut in cuts]

    with ThreadPoolExecutor(WORKERS) as pool:
        return [end for ends in pool.map(work, [chosen[i::WORKERS] for i in range(WORKERS)]) for end in ends]


def register(here):
    """The board is provisioned again with the server that the bench has emptied, and this is its moment."""
    here.rewind()
    run = here.board().run(DONE, PATIENCE)
    assert run.ended == "found", run.log
    here.flash = here.image.path.read_bytes()
    here.nvs = here.image.nvs.read_bytes() if here.image.nvs.exists() else None


def judge(what, kind, ends, record_property):
    found = Counter(end == "right" for _, end in ends)
    record_property(
        "figures", f"outbox {what}, {kind}: {len(ends)} cuts, {found[True]} end with every kept sample there"
    )
    for cut, end in ends:
        assert end == "right", f"{what}, {kind}, cut at {cut}: {end}"


@pytest.mark.parametrize("kind", KINDS)
def test_cuts_while_it_fills(kind, record_property):
    counts = []

    def case(here, cut):
        back(here)
        run = fill(here, PowerCut(*cut))
        assert run.ended == "power cut", run.log
        expected = kept(here.image)
        counts.append(len(expected))
        return drained(here, expected)

    # Several segments' worth: the first operations make the file, later ones append and begin the next segment.
    chosen = effort.some([cut for (cut,) in every_cut(36)], 0.06, f"fill {kind}")
    ends = share_out(kind, chosen, case)
    assert max(counts) > 10
    judge("filling", kind, ends, record_property)


@pytest.mark.parametrize("kind", KINDS)
def test_cuts_while_it_drains(kind, record_property):
    def full(here):
        back(here)
        run = fill(here, most=40)
        assert run.ended == "found", run.log
        return here.image.path.read_bytes(), kept(here.image)

    made = {}

    def case(here, cut):
        if here not in made:
            made[here] = full(here)
        flash, expected = made[here]
        back(here)
        here.image.path.write_bytes(flash)
        run = here.board(cut=PowerCut(*cut)).run(EMPTY, PATIENCE)
        if run.ended not in ("power cut", "found"):
            return f"ended by {run.ended}\n{run.log}"
        there = server_has(here)
        left = {value: ts for value, ts in expected.items() if value not in there}
        end = drained(here, left)
        return end if end != "right" else drained_before(here, expected)

    def drained_before(here, expected):
        there = server_has(here)
        return "right" if all(set(there[v]) == {ts} for v, ts in expected.items() if ts) else "lost or changed"

    chosen = effort.some([cut for (cut,) in every_cut(16)], 0.12, f"drain {kind}")
    judge("draining", kind, share_out(kind, chosen, case), record_property)
