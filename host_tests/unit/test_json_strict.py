"""JSON as it must be, whatever the parser of a MicroPython release lets through."""

import contextlib
import json
import re
from types import SimpleNamespace

import pytest
from firstboot import config, json_strict

GOOD = [b'{"a":1}', b' {"a":{"b":[1,2]}}\r\n ', b"[]", b"1", b'"}"', '{"ä":"ö"}'.encode()]
BAD = [b"", b"{", b'{"a":1', b'{"a":', b'{"a":1,', b'{"a":{"b":1}', b'{"a":1}}', b'{"a":1} x', b"\xff", b"{}{}"]


def lenient(text):
    """json.loads() of MicroPython up to 1.25: ends need not be there, nor what belongs to a comma or a colon."""
    text = re.sub(r',?\s*("[^"]*"\s*:)?\s*(}*)\s*$', r"\2", text)
    for end in ("", "}", "}}", "}}}"):
        with contextlib.suppress(ValueError):
            return json.loads(text + end)
    raise ValueError


OLD = SimpleNamespace(load=lambda stream: lenient(stream.read()), loads=lenient)


@pytest.fixture(params=["strict", "lenient"])
def parser(request, monkeypatch):
    if request.param == "lenient":
        monkeypatch.setattr(json_strict, "json", OLD)


@pytest.mark.parametrize("data", GOOD)
def test_what_is_a_document(parser, data):
    assert json_strict.loads(data) == json.loads(data)


@pytest.mark.parametrize("data", BAD)
def test_what_is_none(parser, data):
    with pytest.raises(ValueError, match="not_json"):
        json_strict.loads(data)


def test_a_cut_config_is_none(monkeypatch, tmp_path):
    """Cut before "tls", it would be a board's that speaks in the clear."""
    monkeypatch.setattr(json_strict, "json", OLD)
    monkeypatch.setattr(config, "errand", lambda module, name, *args: getattr(json_strict, name)(*args))
    whole = b'{"server":{"host":"h"},"provision":{"key":"k","secret":"s"},"tls":{"enabled":true}}'
    path = tmp_path / "config.json"
    for size in range(len(whole)):
        path.write_bytes(whole[:size])
        with pytest.raises(ValueError, match="is not JSON"):
            config.load(str(path))
