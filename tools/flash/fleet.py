"""Many boards at once: a thread each, a progress bar each, and an entry in the ledger whatever happens."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait
from dataclasses import dataclass
from typing import Any

from .ledger import Entry, Ledger
from .ports import Port
from .talk import BoardFailed, Stopped
from .work import Plan, Progress, Result, Work

# Where a board is on its bar when a step begins, in percent; the step is at its end where the next one begins.
_STEPS = {
    "micropython": 0,
    "connect": 30,
    "compare": 35,
    "copy": 40,
    "repair": 80,
    "verify": 84,
    "own files": 86,
    "reset": 88,
    "follow": 90,
    "": 100,
}


@dataclass
class Outcome:
    """What came of one board: "provisioned", "flashed", "already done", "failed" or "interrupted".

    `port` is where it was when it began, `board` its name when it ended: a board in its boot ROM has none before.
    """

    port: Port
    board: str
    result: str
    step: str
    detail: str
    hint: str
    seconds: float
    work: Result

    @property
    def good(self) -> bool:
        """Whether the board has what it is to have."""
        return self.result in ("provisioned", "flashed", "already done")

    def as_document(self) -> dict[str, Any]:
        """For --json."""
        facts = self.work.facts
        return {
            "board": self.board,
            "port": self.port.device,
            "result": self.result,
            "step": self.step,
            "detail": self.detail,
            "hint": self.hint,
            "seconds": round(self.seconds, 2),
            "name": self.work.name,
            "machine": facts.machine if facts else "",
            "uid": facts.uid if facts else "",
            "micropython": facts.release if facts else "",
            "files_copied": self.work.copied,
        }


class Show:
    """Who wants to see how it goes: nothing by default."""

    def begin(self, ports: list[Port]) -> None:
        """These boards are about to be flashed."""

    def progress(self, port: Port, percent: float, step: str) -> None:
        """A board has got so far."""

    def end(self, outcome: Outcome) -> None:
        """A board is through, well or not."""


def percent(step: str, at: float) -> float:
    """The length of a board's bar when it is `at` (0 to 1) of `step`."""
    begins = _STEPS[step]
    ends = min((value for value in _STEPS.values() if value > begins), default=100)
    return begins + (ends - begins) * at


def flash(ports: list[Port], plan: Plan, ledger: Ledger, jobs: int = 32, show: Show | None = None) -> list[Outcome]:
    """Flash all the boards, up to `jobs` at a time. One that fails stops no other.

    Ctrl-C stops them at the next wait: what was done is in the ledger, and the next run goes on from there.
    """
    shown, stop = show or Show(), threading.Event()
    shown.begin(ports)
    outcomes: dict[str, Outcome] = {}
    with ThreadPoolExecutor(max_workers=max(1, min(jobs, len(ports)))) as pool:
        waiting = {pool.submit(_one, port, plan, ledger, stop, shown.progress) for port in ports}
        while waiting:
            try:
                done, waiting = wait(waiting, return_when=FIRST_COMPLETED)
            except KeyboardInterrupt:
                stop.set()
                continue
            for future in done:
                outcome = future.result()
                outcomes[outcome.port.device] = outcome
                shown.end(outcome)
    return [outcomes[port.device] for port in ports]


def _one(
    port: Port, plan: Plan, ledger: Ledger, stop: threading.Event, told: Callable[[Port, float, str], None]
) -> Outcome:
    began = time.monotonic()
    entry = Entry(board=port.name, port=port.device, firmware=plan.firmware)
    number = ledger.start(entry)

    def changed(step: str, at: float) -> None:
        if step != entry.step:
            entry.step = step
            entry.seconds = round(time.monotonic() - began, 2)
            ledger.update(number, entry)
        told(port, percent(step, at), step)

    work = Work(port, plan, Progress(changed), stop, lambda uid: ledger.last(uid, number))
    detail = hint = ""
    try:
        result = "interrupted" if stop.is_set() else work.run().done
    except BoardFailed as e:
        result, detail, hint = "failed", plan.mask.known(str(e)), e.hint
    except Stopped:
        result, hint = "interrupted", "run the command again: it goes on where it was"
    except Exception as e:  # noqa: BLE001 - a board that answers nonsense must not stop the others
        result, detail = "failed", plan.mask.known(f"{type(e).__name__}: {e}")
    facts = work.result.facts
    if facts:
        entry.uid, entry.machine = facts.uid, facts.machine
        entry.micropython = facts.release
    entry.board, entry.port = work.port.name, work.port.device
    entry.name, entry.result, entry.detail = work.result.name, result, detail
    entry.seconds = round(time.monotonic() - began, 2)
    with contextlib.suppress(Exception):  # a full disk must not hide what became of the board
        ledger.update(number, entry)
    return Outcome(port, work.port.name, result, entry.step, detail, hint, entry.seconds, work.result)
