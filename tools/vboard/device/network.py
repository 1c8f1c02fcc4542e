# The port's `network`: one station interface that joins, refuses or drops by the host's plan.

import sys
import time

STA_IF = 0
AP_IF = 1


def start(spec):
    global _plan, _mac, _began
    _plan = spec["wifi"]
    _mac = bytes(spec["mac"])
    _began = time.ticks_ms()
    for name in spec["stats"]:
        setattr(sys.modules["network"], name, spec["stats"][name])  # interned here, as the port has it in ROM
    WLAN.IF_STA = STA_IF
    WLAN.IF_AP = AP_IF
    WLAN.PM_NONE = 0


def down():
    # Whether the plan has the network out of reach now.
    now = time.ticks_diff(time.ticks_ms(), _began)
    for since, until in _plan["down"]:
        if since <= now < until:
            return True
    return False


def up():
    return _station._state == STAT_GOT_IP and not down()


def hostname(name=None):
    return "vboard"


def country(code=None):
    return "XX"


class WLAN:
    def __new__(cls, interface=STA_IF):
        return _station

    def _init(self):
        self._active = False
        self._state = STAT_IDLE
        self._ready = 0
        return self

    def active(self, on=None):
        if on is None:
            return self._active
        self._active = bool(on)

    def connect(self, ssid=None, key=None):
        if not self._active:
            raise OSError("Wifi Not Started")
        networks = _plan["networks"]
        if ssid not in networks or down():
            self._end = STAT_NO_AP_FOUND
        elif networks[ssid] != (key or ""):
            self._end = STAT_WRONG_PASSWORD
        else:
            self._end = STAT_GOT_IP
        self._ready = time.ticks_add(time.ticks_ms(), _plan["join_ms"])
        self._state = STAT_CONNECTING

    def disconnect(self):
        self._state = STAT_IDLE

    def isconnected(self):
        return self.status() == STAT_GOT_IP

    def status(self, what=None):
        if what == "rssi":
            return -55
        if self._state == STAT_CONNECTING and time.ticks_diff(time.ticks_ms(), self._ready) >= 0:
            self._state = self._end
        if self._state == STAT_GOT_IP and down():
            self._state = STAT_NO_AP_FOUND
        return self._state

    def config(self, *names, pm=None, **values):
        if names == ("mac",):
            return _mac

    def ifconfig(self, addresses=None):
        return ("127.0.0.1", "255.0.0.0", "127.0.0.1", "127.0.0.1")


STAT_IDLE = 0  # until start() brings the port's own numbers
_station = object.__new__(WLAN)._init()
