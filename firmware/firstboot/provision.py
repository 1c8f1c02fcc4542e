# The provisioning handshake as a transition table and its driver. MIT licence, (c) 2026 the firstboot authors.
#
# Under "allow creating new devices" ThingsBoard refuses every further request for a name it knows, so an answer
# that is lost can't be asked for again. Hence the order: the board's own credentials are on flash before the
# server hears of them, and after any doubtful end they are tried. Knows no socket, clock, flash or random
# source: all are handed in.

from micropython import const

from . import errand
from .link import Denied
from .log import log

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


class Provisioner:
    """Take the board from what is in `store` to an identity that the server has accepted.

    `link`: ask() and open(); `name`, `key`, `secret`: as the request has them; `make() -> credentials` or None
    where the server makes them; `pause(is_slow)` sleeps between two tries and sees to the network.
    """

    def __init__(self, link, store, name, key, secret, make, pause):
        self.link = link
        self.store = store
        self.name = name
        self.key = key
        self.secret = secret
        self.make = make
        self.pause = pause

    def run(self):
        """Return when the identity is verified and on flash; the link is then open as the device."""
        state = self.store.state
        while state != _VERIFIED:
            event = self._make() if state == _EMPTY else self._ask() if self._may_ask(state) else self._try()
            if state == _CONFLICT and event == _DENIED:
                errand("advice", "conflict", self.name)
            event = TABLE[state + event]
            state = event & 0xF0
            event &= 0x0F
            if event != _NOW:
                self.pause(event == _SLOW)
        credentials = self.store.credentials
        self._save(_VERIFIED, errand("x509", "settle", credentials) if "next" in credentials else credentials)

    def _may_ask(self, state):
        return state == _CANDIDATE and "files" not in (self.store.credentials or ())

    def _make(self):
        self._save(_CANDIDATE, self.make())
        return _MADE

    def _ask(self):
        own = self.store.credentials
        log("provision:", "asking for", self.name, "with credentials of its own" if own else "without credentials")
        if self.store.state != _ASKED:
            self._save(_ASKED, own)
        try:
            data = self.link.ask(errand("codec", "request", self.key, self.secret, self.name, own))
            status, granted = errand("codec", "answer", data)
            # What the server answers wins over what was asked, but for a certificate: without its key it is no use.
            if granted and "certificate" in granted:
                if not own or own.get("certificate") != granted["certificate"]:
                    raise ValueError("a certificate that is not this board's")
                granted = own
        except ValueError as e:
            log("provision:", "the answer can't be used:", e)
            return _LOST
        except OSError as e:
            log("provision:", "no answer:", e)
            return _LOST
        finally:
            self.link.close()
        log("provision:", "the server answers", status)
        if granted:
            self._save(_VERIFYING, granted)
            return _GRANTED
        if status == "FAILURE":
            return _FAILURE
        errand("advice", "not_found")
        return _NOT_FOUND

    def _try(self):
        if not self.store.credentials:
            return _DENIED  # mode "server": there is nothing to try
        try:
            self.link.open(self.store.credentials)
            log("provision:", "the server accepts this board")
            return _ACCEPTED
        except Denied as e:
            log("provision:", "the server does not know these credentials:", e)
            event = _DENIED
            if "next" in self.store.credentials:
                log("provision:", "going back to the ones before")
                self._save(self.store.state, errand("x509", "swap", self.store.credentials))
        except OSError as e:
            log("provision:", "the server can't be reached:", e)
            event = _OFFLINE
        self.link.close()
        return event

    def _save(self, state, credentials):
        while True:
            try:
                self.store.save(state, credentials)
                return self.store.hide()
            except OSError as e:
                log("flash: the identity can't be written, the old one stays:", e)
            # What is granted must find room, so nobody is asked yet; a state after that is found again by trying.
            if state > _ASKED and credentials == self.store.credentials:
                return None
            self.pause(False)
