"""firstboot frozen into MicroPython: it boots with nothing of it on flash, and its code takes no heap."""

import pytest

from tools import measure
from tools.stage import Stage
from tools.vboard import VirtualBoard
from tools.vm import find
from tools.vm.frozen import frozen, tls_in_heap

# The first time, MicroPython is compiled.
pytestmark = pytest.mark.timeout(900)

# Heap of the virtual board itself (21 KiB) and of a first boot from frozen code (8 KiB), with some to spare.
HEAP = 31 * 1024

# Its own firmware is frozen in, and another one is on flash.
FROM_FLASH = b"""\
import sys
sys.path.remove(".frozen")
import firstboot
print(firstboot.__path__)
firstboot.run()
"""


def test_a_frozen_board_boots_with_nothing_but_config_on_flash():
    with Stage(frozen=True) as stage:
        image = stage.image()
        assert set(image.ls()) == {"/main.py", "/app.py", "/config.json"}
        first = stage.board(image, heap=HEAP).run("telemetry: acknowledged", timeout=60)
        assert first.ended == "found", first.log
        second = stage.board(image, heap=HEAP).run("telemetry: acknowledged", timeout=60)
        assert second.ended == "found" and "asking" not in second.log, second.log
        assert len(stage.standin.provision_requests) == len(stage.standin.devices()) == 1


def test_it_runs_on_an_older_micropython_too():
    older = frozen("trixie")
    assert older.version[:2] == (1, 25) != find().version[:2]
    with Stage(frozen=True) as stage:
        for credentials in ("token", "basic"):
            stage.credentials = credentials
            run = VirtualBoard(stage.image(), vm=older).run("telemetry: acknowledged", timeout=60)
            assert run.ended == "found", run.log


def test_from_flash_it_runs_there_too():
    with Stage(files={"/main.py": FROM_FLASH}) as stage:
        image = stage.image()
        for _ in range(2):
            run = VirtualBoard(image, vm=frozen("trixie")).run("telemetry: acknowledged", timeout=60)
            assert run.ended == "found" and run.lines[0][1] == "/lib/firstboot", run.log


def test_from_mpy_files_the_same_heap_is_too_small():
    with Stage() as stage:
        assert not measure.boots(stage, HEAP)


@pytest.fixture(scope="module")
def rp2():
    """A stage whose boards have TLS in MicroPython's heap, as the RP2 has, and firstboot frozen in."""
    with Stage("mqtt", True, frozen=True, vm=tls_in_heap(firstboot=True)) as stage:
        yield stage


def test_a_tls_connection_fits_into_a_picos_heap_many_times(rp2):
    # 17 KiB of it are the virtual board's; a Pico W's whole heap is about 190.
    run = rp2.board(rp2.image(), kind="RPI_PICO_W", heap=60 * 1024).run("telemetry: acknowledged|next try", timeout=60)
    assert "telemetry: acknowledged" in run.log, run.log
    assert measure.steady_heap(run) - measure.held(rp2) > 20 * 1024  # mbedtls' two buffers are really in there


def test_too_little_heap_for_tls_is_told_and_tried_again(rp2):
    run = rp2.board(rp2.image(), kind="RPI_PICO_W", heap=40 * 1024).run("(?s)next try.*next try", timeout=60)
    assert run.ended == "found" and "TLS: not enough memory for the handshake" in run.log, run.log
    assert "crashed" not in run.log
