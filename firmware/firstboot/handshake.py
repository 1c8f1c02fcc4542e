# The handshake's decisions: a transition table, and what is told and kept on the way. MIT licence, (c) 2026 the
# firstboot authors.
#
# Under "allow creating new devices" ThingsBoard refuses every further request for a name it knows, so an answer
# that is lost can't be asked for again. Hence the order: the board's own credentials are on flash before the
# server hears of them, and after any doubtful end they are tried. An errand of provision.py, in memory between the
# conversations with the server. Knows no socket, clock, flash or random source: all are handed in.

from micropython import const

from . import errand, log
from .link import Denied

# The states, as store.py has them: private constants are folded into the table, 700 bytes of heap less than names.
_EMPTY = const(0x00)
_CANDIDATE = const(0x10)
_ASKED = const(0x20)
_VERIFYING = const(0x30)
_VERIFIED = const(0x40)
_CONFLICT = const(0x50)  # the server knows the name already; between two requests only, never on flash

# The events: what an action can end in.
_MADE = const(0)  # there are credentials on flash to ask with
_GRANTED = const(1)  # the server answered SUCCESS; its credentials are on flash
_NOT_FOUND = const(2)
_FAILURE = const(3)
_LOST = const(4)  # no answer, or none that can be believed
_ACCEPTED = const(5)  # the server let the board in with its credentials
_DENIED = const(6)  # the server is there and does not know them
_OFFLINE = const(7)  # the server could not be asked

# How long to wait before the next state's action.
_NOW = const(0)
_SOON = const(1)  # exponential back-off
_SLOW = const(2)  # nothing will change before a person changes it

# state + event: next state + wait. A pair that is not here can't happen; a test walks all of them.
TABLE = {
    _EMPTY + _MADE: _CANDIDATE + _NOW,
    _CANDIDATE + _GRANTED: _VERIFYING + _NOW,
    _CANDIDATE + _NOT_FOUND: _CANDIDATE + _SLOW,
    _CANDIDATE + _FAILURE: _CONFLICT + _NOW,
    _CANDIDATE + _LOST: _ASKED + _SOON,
    # With a certificate of a CA that the server trusts there is nothing to ask.
    _CANDIDATE + _ACCEPTED: _VERIFIED + _NOW,
    _CANDIDATE + _DENIED: _CANDIDATE + _SLOW,
    _CANDIDATE + _OFFLINE: _CANDIDATE + _SOON,
    _ASKED + _ACCEPTED: _VERIFIED + _NOW,
    _ASKED + _DENIED: _CANDIDATE + _NOW,
    _ASKED + _OFFLINE: _ASKED + _SOON,
    _VERIFYING + _ACCEPTED: _VERIFIED + _NOW,
    _VERIFYING + _DENIED: _CANDIDATE + _SOON,
    _VERIFYING + _OFFLINE: _VERIFYING + _SOON,
    _CONFLICT + _ACCEPTED: _VERIFIED + _NOW,
    _CONFLICT + _DENIED: _CANDIDATE + _SLOW,
    _CONFLICT + _OFFLINE: _CONFLICT + _SOON,
}


def begin(board, state, made):
    """What `board` (a Provisioner) is to do in `state`: (verb of the link, credentials to ask or to log in with, what
    to save before); the verb is None if nothing is to be done. To save: (state, credentials) or None.

    `made`: the credentials that it has made, in the state where it has none.
    """
    if state == _EMPTY:
        return None, None, (_CANDIDATE, made)
    own = board.store.credentials
    # With a certificate of a CA that the server trusts there is nothing to ask; without credentials, none to try.
    if state != _CANDIDATE or own and "files" in own:
        return own and board.link.open, own, None
    log("provision: asking for", board.name, "with credentials of its own" if own else "without credentials")
    return board.link.ask, own, (_ASKED, own) if board.store.state != _ASKED else None


def end(board, state, verb, answer):
    """After begin(): (next state, how long to wait, what to save before). `answer`: what the server said, or the
    exception instead."""
    save = None
    if state == _EMPTY:
        event = _MADE
    elif verb == board.link.ask:
        event, save = _asked(board, answer)
    else:
        event, save = _tried(board, verb, answer)
    if state == _CONFLICT and event == _DENIED:
        errand("advice", "conflict", board.name)
    if state == _CANDIDATE and event == _DENIED:
        errand("advice", "chain")
    state = TABLE[state + event]
    wait = state & 0x0F
    state &= 0xF0
    if state == _VERIFIED:
        own = board.store.credentials
        save = state, errand("x509", "settle", own) if "next" in own else own
    return state, wait, save


def _asked(board, answer):
    # The event, and what to save.
    board.link.close()
    own = board.store.credentials
    # What the server answers wins over what was asked, but for a certificate: without its key it is no use.
    if isinstance(answer, tuple) and "certificate" in (answer[1] or ()):
        if own and own.get("certificate") == answer[1]["certificate"]:
            answer = answer[0], own
        else:
            answer = ValueError("a certificate that is not this board's")
    if isinstance(answer, Exception):
        is_lost = not isinstance(answer, ValueError)
        log("provision: no answer:" if is_lost else "provision: the answer can't be used:", answer)
        return _LOST, None
    status, granted = answer
    log("provision: the server answers", status)
    if granted:
        return _GRANTED, (_VERIFYING, granted)
    if status == "FAILURE":
        return _FAILURE, None
    errand("advice", "not_found")
    return _NOT_FOUND, None


def _tried(board, verb, answer):
    if not verb:
        return _DENIED, None  # mode "server": there is nothing to try
    if answer is None:
        log("provision: the server accepts this board")
        return _ACCEPTED, None
    board.link.close()
    if not isinstance(answer, Denied):
        log("provision: the server can't be reached:", answer)
        return _OFFLINE, None
    log("provision: the server does not know these credentials:", answer)
    own = board.store.credentials
    if "next" not in own:
        return _DENIED, None
    log("provision: going back to the ones before")
    return _DENIED, (board.store.state, errand("x509", "swap", own))
