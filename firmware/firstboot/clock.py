# The clock, set by SNTP (RFC 4330). MIT licence, (c) 2026 the firstboot authors.
#
# An errand of link/tls.py and of the outbox: certificates and samples have dates, and a board wakes up in 1970, 2000
# or 2021. The answer is not authenticated: who can forge it can make the board take an expired certificate for a good
# one, or date its samples wrongly, and no more.

import os
import select
import socket
import time
from micropython import const

from . import feed, log
from .link import LinkError

_SANE = const(2025)  # a clock of an earlier year was never set
_AGAIN = const(1000)  # ms until the question is asked again
_1970 = const(2208988800)  # seconds from NTP's epoch to these
_2000 = const(946684800)
_2025 = const(1735689600)


def ensure(wire, host, port):
    """Return with the clock set, within the deadline of `wire`. LinkError says why not."""
    if time.gmtime()[0] >= _SANE:
        return
    now = _ask(wire, host, port)
    # The ports count from 1970 or from 2000.
    t = time.gmtime(now - (_2000 if time.gmtime(0)[0] == 2000 else 0))
    from machine import RTC

    RTC().datetime((t[0], t[1], t[2], t[6], t[3], t[4], t[5], 0))
    log("clock: set to %d-%02d-%02d %02d:%02d:%02d UTC" % tuple(t[:6]))


def _ask(wire, host, port):
    try:
        address = socket.getaddrinfo(host, port)[0][-1]
    except OSError as e:
        raise LinkError("ntp.host %s does not resolve (%s)" % (host, e))
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    try:
        sock.setblocking(False)
        sock.connect(address)
        poll = select.poll()
        poll.register(sock, select.POLLIN)
        while True:
            left = time.ticks_diff(wire.end, time.ticks_ms())
            if left <= 0:
                raise LinkError("ntp.host %s does not tell the time" % host)
            feed()
            # The server returns our transmit time, which is a random number: nobody else can answer.
            mark = os.urandom(8)
            sock.send(b"\x23" + bytes(39) + mark)
            for _ in poll.ipoll(min(left, _AGAIN)):
                now = _read(sock.recv(64), mark)
                if now:
                    return now
    except LinkError:
        raise
    except OSError as e:
        raise LinkError("ntp.host %s can't be asked (%s)" % (host, e))
    finally:
        sock.close()


def _read(data, mark):
    # The unix time in an answer; None where it is none, or of a server that has no time itself (stratum 0), or one
    # that would be asked for again (_SANE).
    if len(data) < 48 or data[0] & 7 != 4 or not data[1] or data[24:32] != mark:
        return None
    seconds = int.from_bytes(data[40:44], "big")
    if seconds < 0x80000000:  # from 2036 on
        seconds += 0x100000000
    seconds -= _1970
    return seconds if seconds > _2025 else None
