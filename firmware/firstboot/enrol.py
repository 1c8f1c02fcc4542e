# The first boot's own errand: network, device name, and the provisioning handshake. MIT licence, (c) 2026 the
# firstboot authors.

import os

from . import errand, forget
from .backoff import Backoff
from .log import log
from .wait import pause


def enrol(config, store, link, backoff):
    """Return when `store` has an identity that the server has accepted; `link` is then open as the device."""
    log("identity: none that the server has accepted")
    wifi = (config["wifi.ssid"], config["wifi.password"], config["wifi.timeout"])
    slow = Backoff(config["retry.refused"], config["retry.refused"], os.urandom)

    def wait(is_slow):
        ms = (slow if is_slow else backoff).next()
        log("provision:", "next try in %.1f s" % (ms / 1000))
        pause(ms)
        _network(wifi, backoff)

    _network(wifi, backoff)
    name = errand("board", "name", config["provision.name"])

    def make():
        files = [config["x509.cert"], config["x509.key"]]
        fleet_secret = config["provision.fleet_secret"]
        return errand("candidate", "make", config["credentials"], name, fleet_secret, os.urandom, files)

    from .provision import Provisioner

    Provisioner(link, store, name, config["provision.key"], config["provision.secret"], make, wait).run()
    forget("firstboot.provision")
    backoff.reset()


def _network(wifi, backoff):
    while True:
        try:
            return errand("wifi", "join", *wifi)
        except OSError as e:
            log(e.args[0])
            pause(backoff.next())
