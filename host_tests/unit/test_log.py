"""The log: no secret gets through."""

import json
import re

import firstboot
import micro
import pytest
from firstboot import errand, log
from firstboot.store import VERIFIED, Store

from .fakes import MemorySlot


def test_a_line_has_the_time_and_the_parts(capsys):
    log("one", 2, None, 3.5)
    assert re.fullmatch(r" *\d+\.\d{3} one 2 None 3\.5\n", capsys.readouterr().out)


def test_seconds_never_run_backwards_within_twelve_days(capsys, monkeypatch):
    began = firstboot._began
    for days in (1, 6, 7, 12):  # ticks_diff() itself turns at 6.2
        ticks = began + days * 86_400_000 & 0x3FFFFFFF
        monkeypatch.setattr(micro.time, "ticks_ms", lambda ticks=ticks: ticks)
        log("x")
        assert abs(float(capsys.readouterr().out.split()[0]) - days * 86_400) < 1


def test_a_hidden_secret_never_shows(capsys):
    errand("secrets", "hide", ["tulip-4711"])
    log("a tulip-4711 and tulip-4711", ["tulip-4711"], {"token": "tulip-4711"})
    out = capsys.readouterr().out
    assert "tulip" not in out
    assert out.count("***") == 4


@pytest.mark.parametrize("order", [("rose", "rose-rose-garden"), ("rose2-garden-rose2", "rose2")])
def test_a_secret_within_another_leaves_no_rest(capsys, order):
    for secret in order:
        errand("secrets", "hide", [secret])
    log("x", *order)
    assert re.search(r"x \*\*\* \*\*\*\n", capsys.readouterr().out)


def test_bytes_are_hidden_as_text_and_as_bytes(capsys):
    errand("secrets", "hide", [b"lily-0815"])
    log("lily-0815", b"lily-0815", bytearray(b"<lily-0815>"))
    assert "lily" not in capsys.readouterr().out


def test_nothing_to_hide_changes_nothing(capsys):
    errand("secrets", "hide", [None])
    errand("secrets", "hide", [""])
    errand("secrets", "hide", [b""])
    log("plain text")
    assert "plain text" in capsys.readouterr().out


@pytest.mark.parametrize("secret", ["pässwörd-ünï", 'quo"te-4711', "back\\slash-4711"])
def test_a_secret_is_hidden_however_it_is_quoted(capsys, secret):
    errand("secrets", "hide", [secret])
    log(secret.encode())
    log(json.dumps({"token": secret}))
    out = capsys.readouterr().out
    assert repr(secret.encode())[2:-1] not in out
    assert json.dumps(secret)[1:-1] not in out


def test_credentials_are_hidden(capsys):
    store = Store([MemorySlot(), MemorySlot()])
    store.hide()
    credentials = {"token": "iris-1", "username": "iris-2", "password": "iris-3", "key": "iris-4", "clientId": "board"}
    store.save(VERIFIED, credentials)
    store.hide()
    log(credentials)
    out = capsys.readouterr().out
    assert "iris" not in out and "board" in out


def test_a_traceback_names_file_and_error_and_no_secret(capsys):
    errand("secrets", "hide", ["peony-99"])
    try:
        raise ValueError("token peony-99 is bad")
    except ValueError as e:
        errand("trace", "trace", e)
    out = capsys.readouterr().out
    assert "ValueError" in out and "test_log.py" in out and "is bad" in out
    assert "peony" not in out
    assert all(re.match(r" *\d+\.\d{3} ", line) for line in out.splitlines())


def test_a_traceback_of_several_lines_in_the_message(capsys):
    errand("secrets", "hide", ["aster-7"])
    try:
        raise OSError("first\nsecond aster-7\nthird")
    except OSError as e:
        errand("trace", "trace", e)
    out = capsys.readouterr().out
    assert "aster" not in out and "third" in out
