# The first boot's own errand: network, device name, and what the provisioning handshake needs. MIT licence, (c) 2026
# the firstboot authors.

import os

from . import errand, log, pause


def enrol(config, store, link, wifi, backoff):
    """A Provisioner whose run() gives `store` an identity that the server has accepted; the board is on the network."""
    log("identity: none that the server has accepted")
    refused = config.pop("retry.refused")
    _network(wifi, backoff)
    # What only this errand needs does not stay in the config while the link needs the heap.
    name = errand("board", "name", config.pop("provision.name"))
    key = config.pop("provision.key")
    secret = config.pop("provision.secret")
    mode = config.pop("credentials")
    fleet_secret = config.pop("provision.fleet_secret")
    files = [config.pop(name) for name in "x509.cert x509.key".split()]
    make = "candidate", "make", mode, name, fleet_secret, os.urandom, files
    wait = "enrol", "wait", wifi, [refused, refused, refused], backoff
    return errand("provision", "Provisioner", link, store, name, key, secret, make, wait)


def wait(wifi, slow, backoff, is_slow):
    """Sleep between two tries, for as long as the back-off `slow` or `backoff` says, and be on the network again."""
    ms = errand("backoff", "draw", slow if is_slow else backoff, os.urandom)
    log("provision: next try in %.1f s" % (ms / 1000))
    pause(ms)
    _network(wifi, backoff)


def _network(wifi, backoff):
    while True:
        try:
            return errand("wifi", "join", *wifi)
        except OSError as e:
            log(e.args[0])
            pause(errand("backoff", "draw", backoff, os.urandom))
