# A JSON document, whole and alone: an errand of who reads one. MIT licence, (c) 2026 the firstboot authors.

import io
import json


def loads(data):
    """The document in `data` (bytes). ValueError where it is none, is cut, or where anything follows it."""
    try:
        # The line end is there for MicroPython's parser, which reads one character past the value.
        text = str(data, "utf-8") + "\n"
        stream = io.StringIO(text)
        doc = json.load(stream)
        rest = text[stream.tell() - 1 :]
    except (ValueError, RuntimeError):  # CPython: RecursionError for deep nesting
        raise ValueError("not_json")
    # MicroPython stops after the first value, CPython objects to what follows it.
    if rest.strip():
        raise ValueError("not_json")
    try:
        # Up to 1.25 MicroPython takes {"a": 1 and even {"a": for a document: then one more brace is none too many.
        json.loads(text + "}")
    except (ValueError, RuntimeError):
        return doc
    raise ValueError("not_json")
