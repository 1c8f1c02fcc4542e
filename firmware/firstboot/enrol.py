# The first boot's own errand: network, device name, and the provisioning handshake. MIT licence, (c) 2026 the
# firstboot authors.

import os

from . import errand, forget, log, pause


def enrol(config, store, link, backoff):
    """Return when `store` has an identity that the server has accepted; `link` is then open as the device."""
    log("identity: none that the server has accepted")
    wifi = (config["wifi.ssid"], config["wifi.password"], config["wifi.timeout"])
    refused = config.pop("retry.refused")
    slow = [refused, refused, refused]

    def wait(is_slow):
        ms = errand("backoff", "draw", slow if is_slow else backoff, os.urandom)
        log("provision: next try in %.1f s" % (ms / 1000))
        pause(ms)
        _network(wifi, backoff)

    _network(wifi, backoff)
    # What only this errand needs does not stay in the config while the link needs the heap.
    name = errand("board", "name", config.pop("provision.name"))
    key = config.pop("provision.key")
    secret = config.pop("provision.secret")
    fleet_secret = config.pop("provision.fleet_secret")
    mode = config.pop("credentials")
    files = [config.pop("x509.cert"), config.pop("x509.key")]

    def make():
        return errand("candidate", "make", mode, name, fleet_secret, os.urandom, files)

    from .provision import Provisioner

    Provisioner(link, store, name, key, secret, make, wait).run()
    forget("firstboot.provision")
    backoff[0] = backoff[1]


def _network(wifi, backoff):
    while True:
        try:
            return errand("wifi", "join", *wifi)
        except OSError as e:
            log(e.args[0])
            pause(errand("backoff", "draw", backoff, os.urandom))
