# The provisioning handshake's driver. MIT licence, (c) 2026 the firstboot authors.
#
# What is decided stands in handshake.py, and is not in memory while the link needs the heap.

from micropython import const

from . import errand
from .link import Denied

_VERIFIED = const(0x40)
_SLOW = const(2)


class Provisioner:
    """Take the board from what is in `store` to an identity that the server has accepted.

    `link`: ask() and open(); `name`, `key`, `secret`: as the request has them; `make() -> credentials` or None
    where the server makes them; `pause(is_slow)` sleeps between two tries and sees to the network. Both may be errands,
    (module, function, *arguments), which keep no code in memory.
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
        """Return the link when the identity is verified and on flash; it is then open as the device."""
        state = self.store.state
        while state != _VERIFIED:
            # A key takes heap: it is made before the handshake comes into it.
            made = None if state else _call(self.make)
            verb, value, save = errand("handshake", "begin", self, state, made)
            if save:
                errand("record_keep", "keep", self, *save)
            is_asking = verb == self.link.ask
            try:
                if is_asking:
                    value = errand("codec", "request", self.key, self.secret, self.name, value)
                value = verb and verb(value)
                if is_asking:
                    value = errand("codec", "answer", value)
            except (Denied, OSError, ValueError, MemoryError) as e:  # what comes may be more than the heap holds
                value = e
            state, wait, save = errand("handshake", "end", self, state, verb, value)
            if save:
                errand("record_keep", "keep", self, *save)
            if wait:
                self.wait(wait == _SLOW)
        return self.link

    def wait(self, is_slow):
        """Call `pause`."""
        _call(self.pause, is_slow)


def _call(function, *args):
    return errand(*(function + args)) if isinstance(function, tuple) else function(*args)
