# `time` as the firmware sees it on a board whose clock nobody has set yet: the VM's own, in the port's epoch.

import time as _time

for _name in dir(_time):
    if _name[0] != "_":
        globals()[_name] = getattr(_time, _name)


def start(port):
    # Where the ports' clocks begin after power-on, and what they count from.
    global _epoch
    _epoch = 946684800 if port == "esp32" else 0
    _set(946684800 if port == "esp32" else 1609459200)


def time():
    return int(_time.time()) + _shift - _epoch


def time_ns():
    return _time.time_ns() + (_shift - _epoch) * 1000000000


def gmtime(seconds=None):
    return _time.gmtime((time() if seconds is None else seconds) + _epoch)[:8]


localtime = gmtime


def mktime(t):
    return _time.mktime(t) - _epoch


def set_date(year, month, day, hour, minute, second):
    _set(int(_time.mktime((year, month, day, hour, minute, second, 0, 0))))


def _set(seconds):
    global _shift
    _shift = seconds - int(_time.time())
