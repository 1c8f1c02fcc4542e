"""The port's `network`: one station that joins, refuses or drops by plan, with the numbers of ESP32 or RP2."""

import sys
import time

from tools.vboard.board import STATS

STA_IF, AP_IF = 0, 1
PM_NONE = {"esp32": 0, "rp2": 16}


class WLAN:
    """The station; every WLAN(STA_IF) is the same one, as on a board."""

    IF_STA, IF_AP = STA_IF, AP_IF

    def __new__(cls, interface=STA_IF):
        return station

    def active(self, on=None):
        if on is None:
            return self.is_active
        self.is_active = bool(on)
        return None

    def connect(self, ssid=None, key=None):
        self.connects.append((ssid, key))
        if not self.is_active:
            raise OSError("Wifi Not Started")
        if self.port == "esp32" and self.state == self.number["STAT_CONNECTING"]:
            raise OSError("Wifi Internal State Error")
        self.state = self.number["STAT_CONNECTING"]
        self.ready = time.monotonic() + self.join_ms / 1000
        if self.end is not None:
            self.outcome = self.end
        elif ssid not in self.networks:
            self.outcome = self.number["STAT_NO_AP_FOUND"]
        else:
            self.outcome = (
                self.number["STAT_GOT_IP"] if self.networks[ssid] == (key or "") else self.number["STAT_WRONG_PASSWORD"]
            )

    def disconnect(self):
        self.state = self.number["STAT_IDLE"]

    def isconnected(self):
        return self.status() == self.number["STAT_GOT_IP"]

    def status(self, what=None):
        if what == "rssi":
            return -55
        if self.state == self.number["STAT_CONNECTING"] and time.monotonic() >= self.ready:
            self.state = self.outcome
        return self.state

    def config(self, *names, **values):
        self.settings.update(values)
        if names == ("mac",):
            # The Pico W's driver reads it when the radio comes on.
            return bytes(6) if self.port == "rp2" and not self.is_active else self.mac
        return self.settings.get(*names) if names else None

    def ifconfig(self, addresses=None):
        return "192.0.2.7", "255.255.255.0", "192.0.2.1", "192.0.2.1"

    def ipconfig(self, *names, **values):
        return ("192.0.2.7", "255.255.255.0") if names == ("addr4",) else None


def start(port="esp32", networks=None, join_ms=0, end=None, mac=b"\x24\x0a\xc4\x01\x02\x03"):
    """Power-up. `networks`: ssid -> password; `end`: name of the STAT_ that every attempt ends in, whatever the plan.

    Firmware that reads the port's numbers while it is imported has to be imported anew after this.
    """
    global station
    here = vars(sys.modules[__name__])
    for numbers in STATS.values():
        for name in numbers:
            here.pop(name, None)
    here.update(STATS[port])
    WLAN.PM_NONE = PM_NONE[port]
    station = object.__new__(WLAN)
    station.port, station.networks, station.join_ms, station.mac = port, networks or {}, join_ms, mac
    station.number = STATS[port]
    station.end = end and STATS[port][end]
    station.is_active, station.state, station.connects, station.settings = False, STATS[port]["STAT_IDLE"], [], {}


def hostname(name=None):
    return "shim"


def country(code=None):
    return "XX"


start()
