"""`make soak`: virtual boards against a server that restarts, stalls, refuses and limits; nothing may get lost.

A board samples every tenth of a second, which stands for a minute: an hour of a board's life takes six seconds.
"""

from __future__ import annotations

import json
import random
import re
import sys
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import typer
from rich.console import Console
from rich.table import Table

from .build import BuildError
from .stage import Stage
from .standin import Limits
from .standin.faults import Fault, TcpProxy, Way
from .vboard import VirtualBoard
from .vm import VmError

PERIOD = 0.1  # seconds, for a minute of a real board
CONFIG = {
    "server": {"timeout": 1, "keepalive": 3},
    "retry": {"first": 0.1, "most": 0.8},
    "revoked": "wait",
}
SMALL = {"bytes": 4096}  # every other board's outbox: too small for a long outage
APP = b"""\
import gc

count = 100000  # of the same length, whichever it is


def read():
    global count
    count += 1
    gc.collect()
    print("sample", count)
    return {"n": count, "heap": gc.mem_alloc(), "text": "x" * 60}
"""
_SAMPLE = re.compile(r"^sample (\d+)")
_TOPIC = b"v1/devices/me/"
_NUMBER = re.compile(rb'"n": (\d+)')
_FIRST = 100000
_WINDOW = 30  # samples that a heap figure is the least of
_SLACK = 256  # bytes of heap: what the loop still holds of the last error is 160 bytes more or less, by its kind
_PATIENCE = 90  # seconds for all that waits to reach the server, in the end

console = Console(highlight=False)


@dataclass
class Outcome:
    """What became of a board's samples. Heap in bytes: after the first fault of each kind, and in the end.

    `in_doubt`: samples that reached the server in the last message of a connection, so that the board may never have
    heard of it. Should one of these fall out of the outbox before it is sent again, the board counts it as dropped:
    of what is sent at least once it can only count what was not acknowledged.
    """

    name: str
    sampled: int
    stored: int
    missing: int
    dropped: int
    in_doubt: int
    twice: int
    boots: int
    outages: int
    is_in_order: bool
    heap_early: int
    heap_late: int

    @property
    def failures(self) -> list[str]:
        """What went wrong, in words."""
        checks = [
            (self.missing <= self.dropped, f"{self.missing} samples missing, {self.dropped} told of as dropped"),
            (
                self.dropped <= self.missing + self.in_doubt,
                f"{self.dropped} told of as dropped, {self.missing} missing and {self.in_doubt} not acknowledged",
            ),
            (self.is_in_order, "samples out of order"),
            (self.heap_late <= self.heap_early + _SLACK, f"heap grew by {self.heap_late - self.heap_early} bytes"),
            (self.boots == 1, f"{self.boots - 1} resets"),
        ]
        return [f"{self.name}: {text}" for passed, text in checks if not passed]


class Soak:
    """A context manager: `count` boards behind a proxy, and a plan of faults made from `seed`.

    `haste`: how many times as short each fault and the boards' period are.
    """

    def __init__(
        self, count: int = 4, seed: int = 1, told: Callable[[str], None] = lambda _: None, haste: float = 1
    ) -> None:
        self.chance = random.Random(seed)
        self.haste = haste
        self.told = told
        self.count = count
        self.faults: Counter[str] = Counter()
        self.period = PERIOD / haste
        self.stage = Stage(files={"/app.py": APP}, config={**CONFIG, "period": self.period})
        self.boards: list[VirtualBoard] = []
        self.names: list[str] = []
        self.early: list[int] = []
        self._kinds: dict[str, Callable[[], None]] = {
            "restart": self._restart,
            "stall": self._stall,
            "refuse": self._refuse,
            "cut": self._cut,
            "acknowledgements lost": self._unacknowledged,
            "rate limit": self._limit,
            "credentials refused": self._unknown,
        }

    def __enter__(self) -> Soak:
        self.stage.__enter__()
        self.standin = self.stage.standin
        self.proxy = TcpProxy(self.standin.mqtt_port).__enter__()
        return self

    def __exit__(self, *_: object) -> None:
        for board in self.boards:
            board.stop()
        self.proxy.__exit__()
        self.stage.__exit__()

    def run(self, seconds: float) -> list[Outcome]:
        """Each fault once, then faults by the plan for `seconds`, then peace; what became of the samples."""
        for number in range(self.count):
            self._board(number)
        for kind in self._kinds:
            self._fault(kind)
        # MicroPython keeps the names that a module brings: what each fault needs has been there once, from here on.
        self._settle()
        self.early = [self._heap(name) for name in self.names]
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            self._fault(self.chance.choice(list(self._kinds)))
        self._settle()
        return [self._outcome(number) for number in range(self.count)]

    def _board(self, number: int) -> None:
        server = {**self.stage.config["server"], "port": self.proxy.port}
        config = {**self.stage.config, "server": server}
        if number % 2:
            config["outbox"] = SMALL
        image = self.stage.image()
        image.put({"/config.json": json.dumps(config).encode()})
        known = {device.name for device in self.standin.devices()}
        board = self.stage.board(image).start()
        self.boards.append(board)
        if not board.wait("telemetry: acknowledged", 60):
            raise RuntimeError(f"a board does not come up:\n{board.run_so_far.log}")
        self.names += [device.name for device in self.standin.devices() if device.name not in known]

    # The faults; each ends with everything as it was

    def _time(self, least: float, most: float) -> float:
        return self.chance.uniform(least, most) / self.haste

    def _fault(self, kind: str) -> None:
        self.told(kind)
        self.faults[kind] += 1
        self._kinds[kind]()
        time.sleep(self._time(0, 3))

    def _restart(self) -> None:
        self.standin.restart(self._time(0, 5))

    def _stall(self) -> None:
        # Those that connect now get so far and no further.
        def plan(_: int) -> Fault:
            passes = [self.chance.choice((None, self.chance.randrange(400))) for _ in range(2)]
            return Fault(up=Way(stall=passes[0]), down=Way(stall=passes[1]))

        self.proxy.plan = plan
        self.proxy.end()
        time.sleep(self._time(1, 5))
        self.proxy.plan = Fault()
        self.proxy.end()

    def _refuse(self) -> None:
        self.proxy.pause()
        self.proxy.end()
        time.sleep(self._time(0, 5))
        self.proxy.resume()

    def _cut(self) -> None:
        for _ in range(self.chance.randrange(1, 5)):
            self.proxy.end()
            time.sleep(self._time(0, 1))

    def _unacknowledged(self) -> None:
        fates = [self.chance.choice(("drop", "close", "ack")) for _ in range(self.count)]
        self.standin.next_acknowledgements(*fates)
        time.sleep(self._time(2, 2))

    def _limit(self) -> None:
        self.standin.set_limits(Limits(telemetry_messages=f"{self.chance.randrange(2, 12)}:2"))
        self.proxy.end()
        time.sleep(self._time(2, 6))
        self.standin.set_limits(Limits())
        self.proxy.end()  # what a board knows of the limits holds for a connection

    def _unknown(self) -> None:
        name = self.chance.choice(self.names)
        credentials = self.standin.device(name).credentials
        self.standin.set_credentials(name, "another-token")
        time.sleep(self._time(0, 4))
        self.standin.set_credentials(name, credentials)

    # What became of it

    def _sampled(self, number: int) -> int:
        for _, line in reversed(self.boards[number].run_so_far.lines):
            found = _SAMPLE.match(line)
            if found:
                return int(found[1]) - _FIRST
        return 0

    def _stored(self, name: str, key: str = "n") -> list[Any]:
        less = _FIRST if key == "n" else 0
        return [value - less for found, _, value in self.standin.telemetry(name) if found == key]

    def _settle(self) -> None:
        # Peace, until every board has sent what it had, and as many samples again as a heap figure takes.
        end = time.monotonic() + _PATIENCE
        while time.monotonic() < end:
            time.sleep(0.1)
            behind = [self._sampled(i) - self._stored(name)[-1] for i, name in enumerate(self.names)]
            if max(behind) < 3:
                time.sleep((_WINDOW + 3) * self.period)
                return
        raise RuntimeError(f"in {_PATIENCE} s of peace the boards have not sent what they had:\n" + self._logs())

    def _logs(self) -> str:
        tails = []
        for board in self.boards:
            lines = [line for _, line in board.run_so_far.lines if not _SAMPLE.match(line)]
            tails.append("\n".join(lines[-12:]))
        return "\n\n".join(tails)

    def _heap(self, name: str) -> int:
        return int(min(self._stored(name, "heap")[-_WINDOW:]))

    def _last_words(self, token: str) -> set[int]:
        # The samples in the last message of each connection. Those before it were acknowledged, or it would not have
        # been sent.
        found: set[int] = set()
        for link in list(self.proxy.links):
            at = link.up.rfind(_TOPIC)
            if token.encode() in link.up[:200] and link.up.startswith(b"telemetry", at + len(_TOPIC)):
                found.update(int(n) - _FIRST for n in _NUMBER.findall(link.up, at))
        return found

    def _outcome(self, number: int) -> Outcome:
        name, board = self.names[number], self.boards[number]
        sampled = self._sampled(number)
        # With the one after them: what the board reports comes behind its sample.
        if not self.standin.wait_for(lambda _: self._stored(name)[-1] > sampled + 1, _PATIENCE):
            raise RuntimeError(f"{name} does not send its last samples:\n{self._logs()}")
        run = board.stop()
        stored = [n for n in self._stored(name) if n <= sampled]
        once = list(dict.fromkeys(stored))
        last_words = self._last_words(self.standin.device(name).credentials.id)
        return Outcome(
            name=name,
            sampled=sampled,
            stored=len(once),
            missing=sampled - len(once),
            dropped=int(self.standin.attributes(name)["dropped_samples"]),
            in_doubt=len(last_words.intersection(once)),
            twice=len(stored) - len(once),
            boots=run.boots,
            outages=run.log.count("connection lost"),
            is_in_order=once == sorted(once),
            heap_early=self.early[number],
            heap_late=self._heap(name),
        )


def main(
    minutes: float = typer.Option(1, min=0.05, help="How long the faults go on."),
    boards: int = typer.Option(4, min=1, help="How many boards."),
    seed: int = typer.Option(1, help="The same seed, the same plan."),
    as_json: bool = typer.Option(False, "--json", help="Print one JSON document."),
) -> None:
    """Every sample that a board took is on the server in the end, or counted as dropped; none is counted besides."""
    began = time.monotonic()
    status = Console(stderr=True).status("booting")
    try:
        with (
            status,
            Soak(boards, seed, lambda kind: status.update(f"{time.monotonic() - began:.0f} s: {kind}")) as soak,
        ):
            outcomes = soak.run(minutes * 60)
            faults = soak.faults
    except (VmError, BuildError, RuntimeError) as e:
        console.print(f"soak: failed: {e}", style="bold red", markup=False)
        raise typer.Exit(1) from e
    failures = [text for outcome in outcomes for text in outcome.failures]
    if as_json:
        print(json.dumps({"faults": faults, "boards": [asdict(o) for o in outcomes], "failures": failures}))
    else:
        console.print(_table(outcomes))
        console.print(f"{faults.total()} faults: " + ", ".join(f"{n} × {kind}" for kind, n in faults.items()))
        said = f"failed: {'; '.join(failures)}" if failures else f"passed in {time.monotonic() - began:.0f} s"
        console.print(f"soak: {said}", style="bold red" if failures else "bold green", markup=False)
    if failures:
        raise typer.Exit(1)


def _table(outcomes: list[Outcome]) -> Table:
    table = Table()
    rows = {
        "samples taken": lambda o: f"{o.sampled:,}",
        "of these on the server": lambda o: f"{o.stored:,}",
        "of these perhaps without its knowing": lambda o: f"{o.in_doubt:,}",
        "dropped, as the board says": lambda o: f"{o.dropped:,}",
        "of these on the server nevertheless": lambda o: f"{max(0, o.dropped - o.missing):,}",
        "lost without a word": lambda o: f"{max(0, o.missing - o.dropped):,}",
        "sent twice": lambda o: f"{o.twice:,}",
        "connections lost": lambda o: f"{o.outages:,}",
        "heap after each fault once": lambda o: f"{o.heap_early:,} B",
        "heap in the end": lambda o: f"{o.heap_late:,} B",
    }
    table.add_column("")
    for number in range(1, len(outcomes) + 1):
        table.add_column(f"board {number}", justify="right")
    for title, cell in rows.items():
        table.add_row(title, *[cell(outcome) for outcome in outcomes])
    return table


if __name__ == "__main__":
    sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]
    typer.run(main)
