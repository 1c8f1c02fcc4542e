"""The registry's SQLite file: one connection, one lock, safe to use from several threads."""

from __future__ import annotations

import sqlite3
import threading
import time
import uuid
from typing import Any


class RegistryError(ValueError):
    """The registry refuses to store this; the message says why."""


def now_ms() -> int:
    """Milliseconds since the epoch."""
    return int(time.time() * 1000)


def new_id() -> str:
    """An entity id as ThingsBoard has them."""
    return str(uuid.uuid1())


class Database:
    """An open database. A class that adds tables says so in its own SCHEMA and hands all of them over."""

    def __init__(self, path: str, schema: str) -> None:
        self._db = sqlite3.connect(path, check_same_thread=False, isolation_level=None)
        self._lock = threading.RLock()
        with self._lock:
            self._db.executescript("PRAGMA journal_mode=WAL; PRAGMA synchronous=OFF;" + schema)

    def _run(self, statement: str, *values: Any) -> None:
        with self._lock:
            self._db.execute(statement, values)

    def _run_all(self, statement: str, rows: list[Any]) -> None:
        with self._lock:
            self._db.executemany(statement, rows)

    def _one(self, statement: str, *values: Any) -> Any:
        with self._lock:
            return self._db.execute(statement, values).fetchone()

    def _all(self, statement: str, *values: Any) -> list[Any]:
        with self._lock:
            return self._db.execute(statement, values).fetchall()
