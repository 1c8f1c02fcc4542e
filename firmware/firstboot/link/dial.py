# Opening a TCP stream, TLS above it where asked. MIT licence, (c) 2026 the firstboot authors.
#
# An errand of the links: the only file of the firmware that opens a TCP socket.

import select
import socket
from errno import EINPROGRESS

from .. import errand
from . import LinkError


def tcp(wire, first):
    """Connect `wire` (a Wire) and send `first`, which TLS does when it is satisfied. LinkError says what failed."""
    wire.drop()
    try:
        address = socket.getaddrinfo(wire.host, wire.port)[0][-1]
    except OSError as e:
        raise LinkError("server.host %s does not resolve (%s)" % (wire.host, e))
    wire.sock = sock = socket.socket()
    sock.setblocking(False)
    try:
        sock.connect(address)
    except OSError as e:
        if e.errno != EINPROGRESS:
            raise
    wire.poll.register(sock, select.POLLOUT)
    if wire.ready("connecting to the server") & (select.POLLERR | select.POLLHUP):
        sock.read(1)  # raises what connecting failed with
        raise LinkError("%s:%d refused the connection" % (wire.host, wire.port))
    if wire.tls:
        try:
            errand("link.tls", "start", wire, first)
        except OSError:
            wire.drop()  # not the link's: its farewell would go out in the clear
            raise
    wire.poll.modify(wire.sock, select.POLLIN)
    if not wire.tls:
        wire.write(first, 0, len(first))
