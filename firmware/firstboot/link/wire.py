# A TCP stream (TLS above it where asked) on which every wait has a deadline. MIT licence, (c) 2026 the
# firstboot authors.
#
# The socket never blocks: each verb of a link first says within() which time it must end, and every wait below,
# also in the middle of a packet or of a TLS handshake, counts against that one deadline.

import select
import time
from micropython import const

from .. import errand
from ..wait import feed
from . import Closed, LinkError

_STEP = const(1000)  # ms between two feedings of the watchdog during a wait


class Wire:
    """A stream to `host`:`port`; `tls`: None, or what tls.options() says, and then `identity` is what it presents."""

    def __init__(self, host, port, tls=None):
        self.host = host
        self.port = port
        self.tls = tls
        self.identity = None
        self.sock = None
        self.poll = select.poll()

    def within(self, ms):
        """Everything up to the next call of within() must end in `ms` milliseconds."""
        self.limit = ms
        self.end = time.ticks_add(time.ticks_ms(), ms)

    def open(self, first):
        """Connect and send `first` (bytes); OSError says which step failed."""
        self.close()
        errand("link.dial", "tcp", self, first)

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
                self.ready("sending to the server")
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
                raise Closed("the server closed the connection")
            self.ready("waiting for the server")

    def ready(self, step):
        """Wait until the socket is; returns poll's flags. LinkError at the deadline, naming the `step`."""
        flags = self.arrives(time.ticks_diff(self.end, time.ticks_ms()))
        if not flags:
            raise LinkError("%s took longer than %d ms" % (step, self.limit))
        return flags

    def arrives(self, ms):
        """poll's flags as soon as there is something to read; 0 after `ms` milliseconds without."""
        end = time.ticks_add(time.ticks_ms(), ms)
        while True:
            ms = time.ticks_diff(end, time.ticks_ms())
            for event in self.poll.ipoll(max(0, min(ms, _STEP))):
                return event[1]
            feed()
            if ms <= 0:
                return 0
