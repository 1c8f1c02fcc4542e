"""Telemetry and attribute payloads: shapes, and the types that values get (contract 5 and 6)."""

from __future__ import annotations

import json
import re
from typing import Any

from . import gson

Point = tuple[str, int, Any]


class Malformed(Exception):
    """JSON syntax error, or the wrong container."""


class BadTimestamp(Exception):
    """`ts` is null or not a number: a fault of another class to the server."""


def telemetry(body: bytes, now: int) -> list[Point] | None:
    """The points (name, ts in ms, value) of a telemetry payload; None for `[]`, which is never acknowledged."""
    doc = document(body)
    if isinstance(doc, dict):
        return _element(doc, now)
    if not isinstance(doc, list):
        raise Malformed("neither an object nor an array")
    if not doc:
        return None
    points = []
    for element in doc:
        if not isinstance(element, dict):
            raise Malformed("an element is not an object")
        points += _element(element, now)
    return points


def attributes(body: bytes) -> dict[str, Any]:
    """The typed members of an attributes payload."""
    doc = document(body)
    if not isinstance(doc, dict):
        raise Malformed("not an object")
    return {name: value for name, value in ((n, typed(v)) for n, v in doc.items()) if value is not None}


def document(body: bytes) -> Any:
    """The parsed payload; Malformed."""
    if not body:
        raise Malformed("empty")
    try:
        return gson.parse(body.decode("utf-8", "replace"))
    except gson.GsonError as e:
        raise Malformed(str(e)) from e


def json_or_text(body: bytes) -> Any:
    """The parsed JSON of an RPC reply, or its text when it is none."""
    reply = body.decode("utf-8", "replace")
    try:
        return json.loads(reply)
    except ValueError:
        return reply


def text(doc: dict[str, Any], member: str) -> str | None:
    """A member as text, as Gson gives it: None when it is missing, Malformed for null, objects and longer lists."""
    if member not in doc:
        return None
    value = doc[member]
    while isinstance(value, list) and len(value) == 1:
        value = value[0]
    if value is None or isinstance(value, (dict, list)):
        raise Malformed(f"{member} is not a text")
    return ("true" if value else "false") if isinstance(value, bool) else str(value)


def typed(value: Any) -> Any:
    """What the server stores for a parsed JSON value; None is skipped."""
    if isinstance(value, gson.Number):
        return _number(value)
    if isinstance(value, str):
        # Text that looks like a number becomes one (a server option, on by default).
        if re.fullmatch(r"-?\d+", value):
            return _integer(value)
        return float(value) if re.fullmatch(r"-?\d*\.\d+", value) else value
    if isinstance(value, (dict, list)):
        return plain(value)
    return value


def _element(element: dict[str, Any], now: int) -> list[Point]:
    values, ts = element, now
    if "ts" in element and "values" in element:
        values, ts = element["values"], _timestamp(element["ts"])
        if not isinstance(values, dict):
            raise Malformed("values is not an object")
    return [(name, ts, value) for name, value in ((n, typed(v)) for n, v in values.items()) if value is not None]


def _timestamp(value: Any) -> int:
    try:
        return int(float(value)) if not isinstance(value, (bool, dict, list)) else _fail()
    except (TypeError, ValueError) as e:
        raise BadTimestamp("ts is not a number") from e


def _fail() -> int:
    raise ValueError


def _number(text: str) -> Any:
    value = float(text)
    if "." in text and "e" not in text.lower():
        return text if len(text.split(".")[1]) > 16 else value
    if value.is_integer():
        return _integer(text if "." not in text and "e" not in text.lower() else str(int(value)))
    return value


def _integer(text: str) -> Any:
    value = int(text)
    return value if -(2**63) <= value < 2**63 else text


def plain(value: Any) -> Any:
    """A parsed value with its numbers as numbers."""
    if isinstance(value, dict):
        return {name: plain(v) for name, v in value.items()}
    if isinstance(value, list):
        return [plain(v) for v in value]
    return _number(value) if isinstance(value, gson.Number) else value
