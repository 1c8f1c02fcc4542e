"""Whatever a server, a file or the flash says: nothing but the declared exceptions comes out, and nothing grows."""

import importlib.util
import json
import multiprocessing
import os
import re
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor

import pytest
from firstboot import codec, config
from hypothesis import given, settings

from . import cpython, guided, mutate, seeds, shapes, targets, vm

# `make test` runs 20,000 inputs with this seed, `make fuzz` a million with another seed each time.
INPUTS = int(os.environ.get("FUZZ", "20000"))
SEED = os.environ.get("FUZZ_SEED", "1")
IS_LONG = INPUTS > 20000
MUTATED = 10_000  # for a naive reader: the rarest catch, any length, is one of 2,500
SHAPED_SEED = SEED if IS_LONG else None  # None: always the same ones
SHAPED = INPUTS // 200 if IS_LONG else 100  # inputs of each target that hypothesis makes
GUIDED = INPUTS // 20 if IS_LONG else 500  # and that atheris does
SHARE = {"outbox": 0.02, **{f"{kind} {what}": 0.04 for kind in ("mqtt", "http", "coap") for what in ("ask", "loop")}}
PURE = 0.08  # of those that touch no driver
VM_PART = 0.1
NAIVE = [
    ("any value", "answer"),
    ("any record", "identity"),
    ("every datagram", "coap loop"),
    ("any length", "mqtt loop"),
    ("any status", "http loop"),
]
GROWTH = 1024  # bytes of the VM's heap, over all cases but the first 30

pytestmark = pytest.mark.timeout(3600 if IS_LONG else 300)


def pool(count):
    """Processes of their own: the firmware's modules stay in memory there."""
    return ProcessPoolExecutor(count, multiprocessing.get_context("spawn"), cpython.start)


def inputs(name):
    """How many inputs this target gets on CPython and on the VM together."""
    return round(INPUTS * SHARE.get(name, PURE) * 1.1)


def test_there_are_as_many_inputs_as_promised():
    assert sum(inputs(name) for name in targets.TARGETS) >= INPUTS
    assert set(targets.TARGETS) == set(seeds.seeds())


def test_mutated_inputs_on_cpython(record_property):
    with pool(2) as workers:
        jobs = {
            name: workers.submit(cpython.run, name, round(inputs(name) * (1 - VM_PART)), SEED)
            for name in targets.TARGETS
        }
        results = {name: job.result() for name, job in jobs.items()}
    total = sum(done for done, _, _ in results.values())
    record_property("figures", f"CPython: {total:,} mutated inputs for {len(results)} readers, seed {SEED}, 0 finds")
    finds = [text for _, _, texts in results.values() for text in texts]
    assert not finds, "\n".join(finds)


@pytest.mark.vm
def test_mutated_inputs_on_the_vm(tmp_path, record_property):
    lab = vm.Lab(tmp_path)
    total = worst = 0
    for name in targets.TARGETS:
        known = seeds.seeds()[name]
        cases = mutate.cases(known, max(100, round(inputs(name) * VM_PART)), f"vm {SEED}/{name}")
        count, finds, growth, log = lab.run(name, [known[0], *cases])
        assert not finds, f"{name}, seed vm {SEED}: {finds} finds\n{log[-4000:]}"
        assert growth <= GROWTH, f"{name}: the heap in use has grown by {growth} bytes"
        total += count
        worst = max(worst, growth)
    record_property(
        "figures",
        f"VM, {vm.HEAP // 1024} KiB heap: {total:,} mutated inputs for {len(targets.TARGETS)} readers, 0 finds, "
        f"heap in use grew by {worst} bytes at most",
    )


@pytest.mark.parametrize(("weakness", "name"), NAIVE)
def test_naive_readers_are_caught(weakness, name, record_property):
    # The mutation check: each of these reads what well-behaved servers say, and believes them.
    with pool(1) as worker:
        _, finds, _ = worker.submit(cpython.run, name, MUTATED, SEED, weakness).result()
        tries, found = worker.submit(cpython.explore, name, 500, SHAPED_SEED, weakness).result()
    record_property(
        "figures",
        f"naive reader, {weakness} ({name}): {finds} of {MUTATED:,} mutated inputs catch it, "
        f"number {tries} of hypothesis",
    )
    assert finds and found


@pytest.mark.vm
def test_the_vm_tells_what_comes_out(tmp_path):
    # The mutation check of the VM's half: in too small a heap MemoryError must come out, and be seen.
    lab = vm.Lab(tmp_path)
    try:
        _, finds, _, log = lab.run("payload", [bytes((0,)) + b"[" * 4000] * 3, heap=-3000)
    except AssertionError as e:
        finds, log = 1, str(e)
    assert finds and re.search("MemoryError|memory allocation failed", log)


# Made by hypothesis: where mutation goes little by little, this goes everywhere.


def test_inputs_made_from_their_grammar(record_property):
    assert set(shapes.SHAPES) == set(targets.TARGETS)
    with pool(2) as workers:
        jobs = [workers.submit(cpython.explore, name, SHAPED, SHAPED_SEED) for name in targets.TARGETS]
        results = [job.result() for job in jobs]
    total = sum(done for done, _ in results)
    record_property("figures", f"CPython: {total:,} inputs made by hypothesis for {len(results)} readers, 0 finds")
    finds = [text for _, text in results if text]
    assert not finds, "\n".join(finds)


# By coverage: atheris goes on from what reaches a branch that was not reached before. There are wheels of it for some
# platforms only.

if importlib.util.find_spec("atheris"):

    def test_inputs_guided_by_coverage(tmp_path, record_property):
        with ThreadPoolExecutor(2) as threads:
            jobs = [threads.submit(guided.hunt, name, GUIDED, SEED, tmp_path) for name in targets.TARGETS]
            results = [job.result() for job in jobs]
        finds = [text for _, _, text in results if text]
        assert not finds, "\n".join(finds)
        total, branches = (sum(result[i] for result in results) for i in range(2))
        assert total >= GUIDED * len(results) and branches > 1000
        record_property(
            "figures",
            f"CPython: {total:,} inputs guided by coverage for {len(results)} readers, {branches:,} branches, 0 finds",
        )

    @pytest.mark.parametrize(("weakness", "name"), NAIVE)
    def test_naive_readers_are_caught_by_coverage(weakness, name, tmp_path):
        assert "Uncaught Python exception" in guided.hunt(name, 20000, SEED, tmp_path, weakness)[2]


@given(shapes.ANSWERS)
@settings(max_examples=300, deadline=None, derandomize=not IS_LONG)
def test_any_json_as_an_answer(value):
    try:
        status, granted = codec.answer(json.dumps(value).encode())
    except ValueError:
        return
    assert (status == "SUCCESS") == (granted is not None)
    if granted:
        assert json.loads(codec.request("k", "s", "n", granted))["credentialsType"] == granted["credentialsType"]


@given(shapes.CONFIGS)
@settings(max_examples=300, deadline=None, derandomize=not IS_LONG)
def test_any_json_as_a_config(value):
    try:
        assert config.check(json.loads(json.dumps(value)))["server.host"]
    except ValueError as e:
        field, text = e.args
        assert isinstance(field, str) and isinstance(text, str)
