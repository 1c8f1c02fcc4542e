# A naive handshake, for the simulator to catch: it asks first and stores what it got afterwards.

from micropython import const

from . import errand, log
from .store import VERIFIED

_SLOW = const(2)


class Provisioner:
    def __init__(self, link, store, name, key, secret, make, pause):
        self.link = link
        self.store = store
        self.request = lambda own: errand("codec", "request", key, secret, name, own)
        self.name = name
        self.make = make
        self.pause = pause

    def run(self):
        while True:
            try:
                status, granted = errand("codec", "answer", self.link.ask(self.request(_call(self.make))))
            except (OSError, ValueError) as e:
                log("provision: no answer:", e)
                _call(self.pause, False)
                continue
            finally:
                self.link.close()
            if granted:
                self.store.save(VERIFIED, granted)
                self.link.open(granted)
                return
            log("provision: the server has", self.name, "with credentials that this board does not hold")
            _call(self.pause, True)


def _call(function, *args):
    return errand(*(function + args)) if isinstance(function, tuple) else function(*args)
