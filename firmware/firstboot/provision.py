# The provisioning handshake as a transition table and its driver. MIT licence, (c) 2026 the firstboot authors.
#
# Under "allow creating new devices" ThingsBoard refuses every further request for a name it knows, so an answer
# that is lost can't be asked for again. Hence the order: the board's own credentials are on flash before the
# server hears of them, and after any doubtful end they are tried. Knows no socket, clock, flash or random
# source: all are handed in.

from micropython import const

from .codec import BadAnswer, Refused, answer, request
from .link import Denied
from .log import hide_credentials, log
from .store import ASKED, CANDIDATE, EMPTY, VERIFIED, VERIFYING

CONFLICT = const(5)  # the server knows the name already; between two requests only, never on flash

# The events: what an action can end in.
MADE = const(0)  # there are credentials on flash to ask with
GRANTED = const(1)  # the server answered SUCCESS; its credentials are on flash
NOT_FOUND = const(2)
FAILURE = const(3)
LOST = const(4)  # no answer, or none that can be believed
ACCEPTED = const(5)  # the server let the board in with its credentials
DENIED = const(6)  # the server is there and does not know them
OFFLINE = const(7)  # the server could not be asked

# How long to wait before the next state's action.
NOW = const(0)
SOON = const(1)  # exponential back-off
SLOW = const(2)  # nothing will change before a person changes it

# (state, event) -> (next state, wait). A pair that is not here can't happen; a test walks all of them.
TABLE = {
    (EMPTY, MADE): (CANDIDATE, NOW),
    (CANDIDATE, GRANTED): (VERIFYING, NOW),
    (CANDIDATE, NOT_FOUND): (CANDIDATE, SLOW),
    (CANDIDATE, FAILURE): (CONFLICT, NOW),
    (CANDIDATE, LOST): (ASKED, SOON),
    (ASKED, ACCEPTED): (VERIFIED, NOW),
    (ASKED, DENIED): (CANDIDATE, NOW),
    (ASKED, OFFLINE): (ASKED, SOON),
    (VERIFYING, ACCEPTED): (VERIFIED, NOW),
    (VERIFYING, DENIED): (CANDIDATE, SOON),
    (VERIFYING, OFFLINE): (VERIFYING, SOON),
    (CONFLICT, ACCEPTED): (VERIFIED, NOW),
    (CONFLICT, DENIED): (CANDIDATE, SLOW),
    (CONFLICT, OFFLINE): (CONFLICT, SOON),
}


class Provisioner:
    """Take the board from what is in `store` to an identity that the server has accepted.

    `link`: ask() and open(); `name`, `key`, `secret`: as the request has them; `make() -> credentials` or None
    where the server makes them; `pause(wait)` sleeps for SOON or SLOW and sees to the network.
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
        while state != VERIFIED:
            event = self._make() if state == EMPTY else self._ask() if state == CANDIDATE else self._try()
            if state == CONFLICT and event == DENIED:
                log("provision: the server has a device", self.name, "whose credentials this board does not hold,")
                log("           or none was prepared. In ThingsBoard delete it (made by a board) or remove its")
                log("           server attribute provisionState (pre-provisioned) or create it.")
            state, wait = TABLE[state, event]
            if wait != NOW:
                self.pause(wait)
        self._save(VERIFIED, self.store.credentials)

    def _make(self):
        credentials = self.make()
        hide_credentials(credentials)
        self._save(CANDIDATE, credentials)
        return MADE

    def _ask(self):
        own = self.store.credentials
        log("provision: asking for", self.name, "with its own" if own else "without", "credentials")
        if self.store.state != ASKED:
            self._save(ASKED, own)
        try:
            granted = _mine(answer(self.link.ask(request(self.key, self.secret, self.name, own))), own)
        except Refused as e:
            log("provision: the server answers", e.args[0])
            if e.args[0] == "FAILURE":
                return FAILURE
            log("provision: look at provision.key and provision.secret")
            return NOT_FOUND
        except BadAnswer as e:
            log("provision: the answer can't be used:", e.args[0])
            return LOST
        except OSError as e:
            log("provision: no answer:", e)
            return LOST
        finally:
            self.link.close()
        log("provision: granted,", granted["credentialsType"])
        hide_credentials(granted)
        self._save(VERIFYING, granted)
        return GRANTED

    def _try(self):
        if not self.store.credentials:
            return DENIED  # mode "server": there is nothing to try
        try:
            self.link.open(self.store.credentials)
            log("provision: the server accepts this board")
            return ACCEPTED
        except Denied as e:
            log("provision: the server does not know these credentials:", e.args[0])
            event = DENIED
        except OSError as e:
            log("provision: the server can't be reached:", e)
            event = OFFLINE
        self.link.close()
        return event

    def _save(self, state, credentials):
        while True:
            try:
                self.store.save(state, credentials)
                return
            except OSError as e:
                log("flash: the identity can't be written, the old one stays:", e)
            # A lost state is found again by asking; lost credentials are not, so nobody hears of them yet.
            if credentials == self.store.credentials:
                return
            self.pause(SOON)


def _mine(granted, own):
    # What the server answers wins over what was asked, but for a certificate: without its key it is of no use.
    if granted["credentialsType"] != "X509_CERTIFICATE":
        return granted
    if not own or own.get("certificate") != granted["certificate"]:
        raise BadAnswer("a certificate that is not this board's")
    return own
