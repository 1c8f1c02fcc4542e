# The transports. MIT licence, (c) 2026 the firstboot authors.
#
# mqtt.py, http.py and coap.py each have a class Link with the same verbs, and Link(config) does no I/O:
#   ask(request) -> answer    one provisioning request (bytes), one answer (bytes)
#   open(credentials)         be this device from now on; returns when the server has accepted it
#   send(payload)             one telemetry message (bytes of JSON); returns when acknowledged
#   report(payload)           the same for client attributes
#   listen(ms, handler)       wait, keep the connection alive, hand over what the server sends
#   close()                   never raises
# and `sock`, None while it is closed.
# Every verb ends within its deadline, raises Denied or OSError, and leaves the link closed when it raises.
#
# What the three share is here: a module less for the loop to hold.

import time
from micropython import const

from .. import feed

_POLLIN = const(1)  # select's, the same in every port (py/stream.h) and to POSIX: a name less for the loop to hold
_POLLOUT = const(4)
_STEP = const(1000)  # ms between two feedings of the watchdog during a wait


class LinkError(OSError):
    """The server can't be reached or does not keep to the protocol: args[0] says how.

    An OSError that is none of these: the connection broke, or the server closed it.
    """


class Denied(Exception):
    """The server is there and refuses these credentials: args[0] says with which code."""


class Wire:
    """A link's socket, on which every wait has a deadline. server.py sets it up, dial.py opens it.

    It never blocks: each verb of a link first says within() which time it must end, and every wait below, also in the
    middle of a packet or of a TLS handshake, counts against that one deadline.
    """

    identity = None  # the credentials whose certificate link/tls.py presents

    def within(self, ms):
        """Everything up to the next call of within() must end in `ms` milliseconds."""
        self.end = time.ticks_add(time.ticks_ms(), ms)

    def drop(self):
        """Close, from whatever state, without a farewell; never raises."""
        sock, self.sock = self.sock, None
        if sock:
            try:
                self.poll.unregister(sock)
                sock.close()
            except (OSError, KeyError):  # gone already
                pass

    close = drop  # a link that says farewell has another one

    def write(self, data, start, size):
        """Send `size` bytes of `data` (bytes or bytearray) from offset `start`, all of them."""
        done = self.sock.write(data, start, size) or 0
        if done < size:
            self.poll.modify(self.sock, _POLLOUT)
            while done < size:
                self.ready("sending to the server")
                done += self.sock.write(data, start + done, size - done) or 0
            self.poll.modify(self.sock, _POLLIN)

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
                raise OSError("the server closed the connection")
            self.ready("waiting for the server")

    def ready(self, step):
        """Wait until the socket is; returns poll's flags. At the deadline LinkError, naming the `step`; 0 if None."""
        while True:
            ms = time.ticks_diff(self.end, time.ticks_ms())
            if step and ms <= 0:  # whatever there may be to read: the peer may talk without a pause
                raise LinkError("%s took longer than %d ms" % (step, self.timeout))
            for event in self.poll.ipoll(max(0, min(ms, _STEP))):
                return event[1]
            feed()
            if ms <= 0:
                return 0
