"""The port's `machine`: what it was told to do is there to be looked at, and a reset is an exception."""

PWRON_RESET, HARD_RESET, WDT_RESET, DEEPSLEEP_RESET, SOFT_RESET = 1, 2, 3, 4, 5


class Reset(SystemExit):
    """The board starts again. Not an Exception: no handler in the firmware may catch it, as none can on a board."""


def start(uid=b"\x24\x0a\xc4\x01\x02\x03", cause=PWRON_RESET, leds=("LED",)):
    """Power-up: no watchdog runs, and no pin was touched."""
    global _uid, _cause, _leds, watchdogs, flashes
    _uid, _cause, _leds = uid, cause, leds
    watchdogs = []
    RTC.set_to = None
    flashes = 0  # times that a pin went from 0 to 1


def unique_id():
    return _uid


def reset():
    raise Reset("machine.reset()")


def soft_reset():
    raise Reset("machine.soft_reset()")


def reset_cause():
    return _cause


def freq(hertz=None):
    return 160_000_000


def idle():
    pass


class RTC:
    """A clock that remembers what it was set to, and does not run."""

    set_to = None

    def datetime(self, t=None):
        if t is None:
            return RTC.set_to
        RTC.set_to = t
        return None


class WDT:
    """A watchdog that counts how often it was fed and never bites."""

    def __init__(self, id=0, timeout=5000):
        self.timeout = timeout
        self.fed = 0
        watchdogs.append(self)

    def feed(self):
        self.fed += 1


class Pin:
    IN, OUT, PULL_UP, PULL_DOWN = 0, 1, 1, 2

    def __init__(self, id, mode=IN, pull=None, value=0):
        if isinstance(id, str) and id not in _leds:
            raise ValueError('unknown named pin "%s"' % id)
        self.id = id
        self._value = value

    def value(self, value=None):
        global flashes
        if value is None:
            return self._value
        flashes += bool(value) and not self._value
        self._value = int(value)
        return None

    __call__ = value

    def on(self):
        self.value(1)

    def off(self):
        self.value(0)

    def toggle(self):
        self.value(not self._value)


start()
