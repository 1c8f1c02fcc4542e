# The first boot's own errand: network, device name, and what the provisioning handshake needs. MIT licence, (c) 2026
# the firstboot authors.

import os

from . import errand, log, pause


def enrol(store, server, wifi, backoff, config):
    """A Provisioner whose run() gives `store` an identity that the server has accepted; the board is on the network.

    `server`, `config`: what boot.boot() has returned.
    """
    log("identity: none that the server has accepted")
    name, key, secret, mode, fleet_secret, certificate, private, refused = config
    _network(wifi, backoff)
    name = errand("board", "name", name)
    link = errand("server_link", "Later", server)
    make = "candidate", "make", mode, name, fleet_secret, os.urandom, [certificate, private]
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
