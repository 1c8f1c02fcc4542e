# Joining the Wi-Fi. MIT licence, (c) 2026 the firstboot authors.

import time
from micropython import const

import network

from . import feed, log

_STEP = const(20)  # ms between two looks at the radio


def join(ssid, password, timeout):
    """Be on the network within `timeout` seconds. OSError says why not.

    `ssid` None: the board's network is none of firstboot's business (Ethernet, or the user's own code).
    """
    if ssid is None:
        return
    wlan = network.WLAN(network.STA_IF)
    if wlan.isconnected():
        return
    log("wifi: joining", ssid)
    wlan.active(True)
    _reliable(wlan)
    wlan.disconnect()  # ESP32: a station that is still trying refuses connect()
    wlan.connect(ssid, password)
    end = time.ticks_add(time.ticks_ms(), int(timeout * 1000))
    while not wlan.isconnected():
        reason = _REASONS.get(wlan.status())
        if reason or time.ticks_diff(end, time.ticks_ms()) <= 0:
            wlan.disconnect()
            raise OSError(reason or "wifi: no connection within %d s" % timeout)
        feed()
        time.sleep_ms(_STEP)
    log("wifi: joined,", wlan.ifconfig()[0])


def _reliable(wlan):
    # The Pico W's radio naps between beacons and then misses packets for seconds; PM_NONE keeps it awake.
    pm = getattr(network.WLAN, "PM_NONE", None)
    if pm is not None:
        wlan.config(pm=pm)


def _reasons():
    # The ports' numbers differ: the RP2's are -3 to -1, the ESP32's 200 and up; both name them alike. In dir(), as a
    # name that is asked for by getattr() is kept for ever, 23 bytes each.
    texts = {
        "STAT_WRONG_PASSWORD": "wifi: wrong password, look at wifi.password",
        "STAT_NO_AP_FOUND": "wifi: no such network in reach, look at wifi.ssid",
        "STAT_CONNECT_FAIL": "wifi: the access point refused",
        "STAT_ASSOC_FAIL": "wifi: the access point refused",
        "STAT_HANDSHAKE_TIMEOUT": "wifi: handshake timed out, look at wifi.password",
    }
    return {getattr(network, name): texts[name] for name in dir(network) if name in texts}


_REASONS = _reasons()
