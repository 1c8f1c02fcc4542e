"""JSON as ThingsBoard's server reads it: Gson's lenient reader, which takes more than RFC 8259 allows.

Single quotes, unquoted words, `=` for `:`, `;` for `,` and comments are accepted, the last of doubled members wins;
what follows the document, a comma before `}` and a truncated document are errors (contract 4.3).
"""

from __future__ import annotations

import re
from typing import Any

_NUMBER = re.compile(r"-?(0|[1-9]\d*)(\.\d+)?([eE][+-]?\d+)?$")
_SPACE = re.compile(r"(?:[ \t\r\n]|//[^\n]*|#[^\n]*|/\*.*?\*/)*", re.DOTALL)
_WORD = re.compile(r"[^\s{}\[\]:,;=#/\\]+")
_ESCAPES = {"b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t"}


class GsonError(ValueError):
    """The text is not JSON, not even leniently."""


class Number(str):
    """A number as it stood in the text: the server decides later what it becomes."""


def parse(text: str) -> Any:
    """The document: dict, list, str, Number, bool or None. GsonError."""
    reader = _Reader(text)
    if reader.peek() == "":
        return None
    value = reader.value()
    if reader.peek() != "":
        raise GsonError("text after the document")
    return value


class _Reader:
    def __init__(self, text: str) -> None:
        self.text = text
        self.at = 0
        self.depth = 0

    def peek(self) -> str:
        match = _SPACE.match(self.text, self.at)
        self.at = match.end() if match else self.at
        return self.text[self.at : self.at + 1]

    def value(self) -> Any:
        c = self.peek()
        if c in ("{", "["):
            self.at += 1
            self.depth += 1
            if self.depth > 255:
                raise GsonError("nested too deeply")
            value = self._object() if c == "{" else self._array()
            self.depth -= 1
            return value
        if c in ('"', "'"):
            return self._string()
        return _literal(self._word())

    def _object(self) -> dict[str, Any]:
        members: dict[str, Any] = {}
        if self.peek() == "}":
            self.at += 1
            return members
        while True:
            c = self.peek()
            name = self._string() if c in ('"', "'") else self._word()
            if self.peek() not in (":", "="):
                raise GsonError("no : after a name")
            self.at += 2 if self.text.startswith("=>", self.at) else 1
            members[name] = self.value()
            if self._ends("}"):
                return members

    def _array(self) -> list[Any]:
        items: list[Any] = []
        if self.peek() == "]":
            self.at += 1
            return items
        while True:
            # An empty place between commas is a null to Gson.
            items.append(None if self.peek() in (",", ";", "]") else self.value())
            if self._ends("]"):
                return items

    def _ends(self, close: str) -> bool:
        c = self.peek()
        if c != close and c not in (",", ";"):
            raise GsonError("unterminated document")
        if c == "":
            raise GsonError("unterminated document")
        self.at += 1
        return c == close

    def _string(self) -> str:
        quote = self.text[self.at]
        self.at += 1
        parts: list[str] = []
        while True:
            c = self.text[self.at : self.at + 1]
            self.at += 1
            if c == "":
                raise GsonError("unterminated text")
            if c == quote:
                return "".join(parts)
            parts.append(self._escape() if c == "\\" else c)

    def _escape(self) -> str:
        c = self.text[self.at : self.at + 1]
        self.at += 1
        if c == "u":
            digits = self.text[self.at : self.at + 4]
            self.at += 4
            try:
                return chr(int(digits, 16))
            except ValueError as e:
                raise GsonError("bad \\u") from e
        if c == "" or c not in "'\"\\/bfnrt\n":
            raise GsonError("bad escape")
        return _ESCAPES.get(c, c)

    def _word(self) -> str:
        match = _WORD.match(self.text, self.at)
        if not match:
            raise GsonError("a value is missing")
        self.at = match.end()
        return match[0]


def _literal(word: str) -> Any:
    lower = word.lower()
    if lower in ("true", "false"):
        return lower == "true"
    if lower == "null":
        return None
    return Number(word) if _NUMBER.match(word) else word
