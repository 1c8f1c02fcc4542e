# What a link needs to know of the server: an errand of the boot and of the links. MIT licence, (c) 2026 the firstboot
# authors.

import select

from . import log

_FIELDS = "transport server.keepalive server.host server.port server.timeout server.frame coap.confirmable tls.enabled \
tls.verify tls.ca ntp.host ntp.port"


def settings(config):
    """What a Link() can be made of besides the whole `config`: the values, without their names."""
    values = [config.get(name) for name in _FIELDS.split()]
    is_tls, verify = values[7:9]
    if is_tls and not verify:
        log("TLS IS NOT VERIFIED: tls.verify is false, and anybody in between can read and forge everything")
    return values


def prepare(wire, config):
    """Set `wire` (a Wire) up for the server of `config` (the config or settings() of it), without any I/O.

    Returns what not every link has a use for: keepalive (seconds) and whether messages are to be confirmable.
    """
    if isinstance(config, dict):
        config = settings(config)
    _, keepalive, wire.host, wire.port, timeout, wire.most, confirmable, is_tls, verify, ca, ntp, ntp_port = config
    wire.timeout = int(timeout * 1000)  # ms that a verb of the link may take
    wire.tls = (verify and ca, ntp, ntp_port) if is_tls else None
    wire.sock = None
    wire.poll = select.poll()
    return keepalive, confirmable
