# A TCP stream (TLS above it where asked) on which every wait has a deadline. MIT licence, (c) 2026 the
# firstboot authors.
#
# The only file of the firmware that opens a TCP socket. The socket never blocks: each verb of a link first says
# within() which time it must end, and every wait below, also in the middle of a packet or of a TLS handshake,
# counts against that one deadline.

import select
import socket
import time
from errno import EINPROGRESS
from micropython import const

from .. import board
from . import LinkError

_STEP = const(1000)  # ms between two feedings of the watchdog during a wait


class Wire:
    """A stream to `host`:`port`; `wrap(sock) -> sock` puts TLS above it, or is None."""

    def __init__(self, host, port, wrap=None):
        self.host = host
        self.port = port
        self.wrap = wrap
        self.sock = None
        self.poll = select.poll()

    def within(self, ms):
        """Everything up to the next call of within() must end in `ms` milliseconds."""
        self.limit = ms
        self.end = time.ticks_add(time.ticks_ms(), ms)

    def open(self):
        """Connect. OSError says which step failed; the TLS handshake is part of the first write."""
        self.close()
        try:
            address = socket.getaddrinfo(self.host, self.port)[0][-1]
        except OSError as e:
            raise LinkError("server.host %s does not resolve (%s)" % (self.host, e))
        self.sock = sock = socket.socket()
        sock.setblocking(False)
        try:
            sock.connect(address)
        except OSError as e:
            if e.errno != EINPROGRESS:
                raise
        self.poll.register(sock, select.POLLOUT)
        if self._wait("connecting") & (select.POLLERR | select.POLLHUP):
            sock.read(1)  # raises what connecting failed with
            raise LinkError("%s:%d refused the connection" % (self.host, self.port))
        if self.wrap:
            self.poll.unregister(sock)
            self.sock = self.wrap(sock)
            self.poll.register(self.sock, select.POLLOUT)
        self.poll.modify(self.sock, select.POLLIN)

    def close(self):
        """Close, from whatever state; never raises."""
        sock, self.sock = self.sock, None
        if sock:
            try:
                self.poll.unregister(sock)
                sock.close()
            except (OSError, KeyError):  # gone already
                pass

    def write(self, data, start, size):
        """Send `size` bytes of `data` (bytes or bytearray) from offset `start`, all of them."""
        done = self.sock.write(data, start, size) or 0
        if done < size:
            self.poll.modify(self.sock, select.POLLOUT)
            while done < size:
                self._wait("sending")
                done += self.sock.write(data, start + done, size - done) or 0
            self.poll.modify(self.sock, select.POLLIN)

    def fill(self, buffer):
        """Fill `buffer` (bytearray) with what arrives, to its end."""
        size = len(buffer)
        done = self.some(buffer)
        while done < size:
            done += self.some(memoryview(buffer)[done:])

    def some(self, buffer):
        """Read what is there into `buffer`, waiting for the first byte of it. Returns their number."""
        while True:
            n = self.sock.readinto(buffer)
            if n:
                return n
            if n is not None:
                raise LinkError("the server closed the connection")
            self._wait("waiting for the server")

    def arrives(self, ms):
        """True as soon as there is something to read; False after `ms` milliseconds without."""
        return self._poll(time.ticks_add(time.ticks_ms(), ms)) != 0

    def _wait(self, step):
        flags = self._poll(self.end)
        if not flags:
            raise LinkError("%s took longer than %d ms" % (step, self.limit))
        return flags

    def _poll(self, end):
        while True:
            ms = time.ticks_diff(end, time.ticks_ms())
            for event in self.poll.ipoll(max(0, min(ms, _STEP))):
                return event[1]
            board.feed()
            if ms <= 0:
                return 0
