# What firstboot costs on this very board: the benchmark's figures, measured here. MIT licence, (c) 2026 the
# firstboot authors.
#
# For the REPL, on a board that is provisioned: import firstboot.selftest; firstboot.selftest.run()

import gc
import os
import sys
import time

from . import __version__, errand

_LOOP = ("link", "link.mqtt", "telemetry")
_TIMES = 50
_PAYLOAD = b'{"selftest":1}'


def run():
    """Print a figure a line: name, value, unit. Sends 50 samples {"selftest": 1} where the board has an identity."""
    for name in [name for name in sys.modules if name.startswith("firstboot.") and name != __name__]:
        del sys.modules[name]
    print("firstboot", __version__, "on", os.uname()[4], os.uname()[2])
    before = _used()
    _tell("heap_free_bytes", gc.mem_free())
    for name in _LOOP:
        __import__("firstboot." + name)
    _tell("loop_code_heap_bytes", _used() - before)
    try:
        from .x509 import cert, p256
    except ImportError:
        pass
    else:
        _tell("x509_ms", _x509(cert, p256))
    del sys.modules["firstboot.telemetry"]
    slots, server, wifi = errand("boot", "boot")[:3]
    credentials = errand("store", "Store", slots).credentials
    if not (credentials and server[0] == "mqtt"):
        print("no identity yet, or not over mqtt: the connection is not measured")
        return
    errand("wifi", "join", *wifi)
    link, who = errand("server_link", "link", server, credentials)
    link.open(who)
    try:
        _publishes(link)
    finally:
        link.close()


def _publishes(link):
    link.send(_PAYLOAD)
    gc.collect()
    gc.disable()
    try:
        used = gc.mem_alloc()
        began = time.ticks_ms()
        for _ in range(_TIMES):
            link.send(_PAYLOAD)
        ms = time.ticks_diff(time.ticks_ms(), began)
        used = gc.mem_alloc() - used
    finally:
        gc.enable()
    _tell("qos1_per_s", _TIMES * 1000 // max(1, ms))
    _tell("publish_alloc_bytes", used // _TIMES)
    _tell("heap_in_use_connected_bytes", _used())


def _x509(cert, p256):
    began = time.ticks_ms()
    d = p256.generate(os.urandom)
    cert.self_signed(d, "selftest", os.urandom)
    p256.sign(d, b"selftest", os.urandom)
    return time.ticks_diff(time.ticks_ms(), began)


def _used():
    gc.collect()
    return gc.mem_alloc()


def _tell(name, value):
    print("%-28s %d" % (name, value))
