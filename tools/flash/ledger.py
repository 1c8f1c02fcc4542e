"""The ledger: what was flashed onto which board, when, and with what result. No secret ever gets into it."""

from __future__ import annotations

import sqlite3
import threading
from dataclasses import asdict, dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from ..console import fail

_SCHEMA = """
CREATE TABLE IF NOT EXISTS flashings (
    id INTEGER PRIMARY KEY,
    at TEXT NOT NULL,        -- UTC, when it began
    board TEXT NOT NULL,     -- USB serial number, else the port's name
    port TEXT NOT NULL,
    uid TEXT NOT NULL,       -- the chip's own id
    machine TEXT NOT NULL,
    micropython TEXT NOT NULL,
    firmware TEXT NOT NULL,  -- digest of the files, without the config
    name TEXT NOT NULL,      -- by which the board introduces itself
    result TEXT NOT NULL,    -- "started" while it lasts, or when it was interrupted
    step TEXT NOT NULL,
    detail TEXT NOT NULL,
    seconds REAL NOT NULL
);
CREATE INDEX IF NOT EXISTS flashings_uid ON flashings (uid, id);
"""


@dataclass
class Entry:
    """One flashing of one board, as it stands."""

    board: str
    port: str
    uid: str = ""
    machine: str = ""
    micropython: str = ""
    firmware: str = ""
    name: str = ""
    result: str = "started"
    step: str = ""
    detail: str = ""
    seconds: float = 0.0


class Ledger:
    """The ledger in the SQLite file `path`; threads may share it.

    `is_read_only`: it must be there, and stays as it is.
    """

    def __init__(self, path: Path | str, *, is_read_only: bool = False) -> None:
        self._lock = threading.Lock()
        try:
            if is_read_only:
                self._db = sqlite3.connect(f"{Path(path).absolute().as_uri()}?mode=ro", uri=True, timeout=30)
                self._db.execute("SELECT id FROM flashings LIMIT 1")
            else:
                self._db = sqlite3.connect(path, check_same_thread=False, timeout=30)
                self._db.executescript(_SCHEMA)
        except sqlite3.Error as e:
            fail(f"the ledger {path} can't be used: {e}", "name another file with --ledger")
        self._db.row_factory = sqlite3.Row

    def close(self) -> None:
        """No more entries."""
        self._db.close()

    def start(self, entry: Entry) -> int:
        """A board's flashing begins; returns the row's number."""
        now = datetime.now(timezone.utc).isoformat(timespec="seconds")
        row = {"at": now, **asdict(entry)}
        names = ", ".join(row)
        marks = ", ".join(f":{name}" for name in row)
        with self._lock, self._db:
            return int(self._db.execute(f"INSERT INTO flashings ({names}) VALUES ({marks})", row).lastrowid or 0)

    def update(self, number: int, entry: Entry) -> None:
        """What has become of it by now."""
        row = asdict(entry)
        sets = ", ".join(f"{name} = :{name}" for name in row)
        with self._lock, self._db:
            self._db.execute(f"UPDATE flashings SET {sets} WHERE id = :id", {**row, "id": number})

    def last(self, uid: str, before: int) -> dict[str, Any] | None:
        """The newest entry of a chip older than row `before`."""
        with self._lock:
            query = "SELECT * FROM flashings WHERE uid = ? AND id < ? ORDER BY id DESC LIMIT 1"
            row = self._db.execute(query, (uid, before)).fetchone()
        return dict(row) if row else None

    def entries(self) -> list[dict[str, Any]]:
        """All entries, the oldest first."""
        with self._lock:
            return [dict(row) for row in self._db.execute("SELECT * FROM flashings ORDER BY id")]
