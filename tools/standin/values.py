"""Telemetry and attribute payloads: shapes, and the types that values get (contract 5 and 6)."""

from __future__ import annotations

import json
import math
import re
from decimal import Decimal, InvalidOperation
from typing import Any

from . import gson

Point = tuple[str, int, Any]
Record = list[Point]  # what is stored together, or not at all
_DIGITS = 1000  # a number with more before or behind its point stays text; a guard of ours


class Malformed(Exception):
    """JSON syntax error, or the wrong container."""


class WrongContainer(Malformed):
    """`values` is no object: over HTTP another answer than to a syntax error."""


class BadTimestamp(Exception):
    """`ts` is null or not a number: a fault of another class to the server."""


def telemetry(body: bytes, now: int) -> list[Record] | None:
    """The points (name, ts in ms, value) of each element of a payload; None for `[]`, which is never acknowledged."""
    doc = document(body)
    if isinstance(doc, dict):
        return [_element(doc, now)]
    if not isinstance(doc, list):
        raise Malformed("neither an object nor an array")
    if not doc:
        return None
    if not all(isinstance(element, dict) for element in doc):
        raise Malformed("an element is not an object")
    return [_element(element, now) for element in doc]


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


def keys(wanted: str | None) -> list[str]:
    """A list of attribute keys, as Java splits it at commas: untrimmed, and without the empty ones at its end."""
    if not wanted:
        return [] if wanted is None else [""]
    wanted = wanted.rstrip(",")
    return wanted.split(",") if wanted else []


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
        return _number(value) if re.fullmatch(r"-?\d+|-?\d*\.\d+", value) else value
    if isinstance(value, (dict, list)):
        return plain(value)
    return value


def _element(element: dict[str, Any], now: int) -> Record:
    values, ts = element, now
    if "ts" in element and "values" in element:
        values, ts = element["values"], _timestamp(element["ts"])
        if not isinstance(values, dict):
            raise WrongContainer("values is not an object")
    return [(name, ts, value) for name, value in ((n, typed(v)) for n, v in values.items()) if value is not None]


def _timestamp(value: Any) -> int:
    if isinstance(value, str) and re.fullmatch(r"-?\d*\.?\d+([eE][+-]?\d+)?", value):
        exact = _decimal(value)
        if exact is not None and -(2**63) <= exact < 2**63:
            return int(exact)
    raise BadTimestamp("ts is not a number")


def _number(text: str) -> Any:
    # An integer, a double, or the digits as text where neither holds them.
    exact = _decimal(text)
    if exact is None:
        return str(text)
    is_simple = "." in text and "e" not in text.lower()
    if exact == exact.to_integral_value() and not is_simple:
        return int(exact) if -(2**63) <= exact < 2**63 else format(exact, "f")
    decimals = -int(exact.as_tuple().exponent)
    return float(exact) if decimals <= 16 and math.isfinite(float(exact)) else format(exact, "f")


def _decimal(text: str) -> Decimal | None:
    try:
        exact = Decimal(text)
    except InvalidOperation:  # an exponent of 20 digits
        return None
    return exact if abs(exact.adjusted()) <= _DIGITS else None


def plain(value: Any) -> Any:
    """A parsed value with its numbers as numbers, by their form; those that are beyond a double stay text."""
    if isinstance(value, dict):
        return {name: plain(v) for name, v in value.items()}
    if isinstance(value, list):
        return [plain(v) for v in value]
    if not isinstance(value, gson.Number):
        return value
    if _decimal(value) is None:
        return str(value)
    number = float(value) if set(value) & set(".eE") else int(value)
    return str(value) if number in (math.inf, -math.inf) else number
