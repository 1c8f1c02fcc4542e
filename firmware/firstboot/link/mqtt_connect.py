# Opening an MQTT session: CONNECT goes out, CONNACK comes back. MIT licence, (c) 2026 the firstboot authors.
#
# An errand of link/mqtt.py; what is sent comes from mqtt_hello.py.

import time
from micropython import const

from .. import errand
from . import Denied, LinkError

_TLS_ALERT = const(0x15)


def ask(link, packet, request):
    """One provisioning request, one answer (bytes), in a provision-only session.

    Neither SUBSCRIBE nor SUBACK: releases up to 3.8.1 send none, and the answer comes without a subscription.
    """
    code = _connect(link, packet)
    if code:
        raise LinkError("CONNACK code %d" % code)
    link.start(b"/provision/request", request)
    while True:
        link.next()
        for topic, payload in link.inbox:
            if topic == b"/provision/response":
                # Neither request nor answer stay in memory while the credentials are written.
                link.inbox = ()
                link.topic = link.out = None
                return payload


def login(link, packet):
    """Connect as a device. Denied: the server answered with a refusing CONNACK."""
    code = _connect(link, packet)
    if code:
        # 1 and 3 say nothing about the credentials: protocol level, and "server unavailable" (contract 2.3).
        raise (LinkError if code in (1, 3) else Denied)("CONNACK code %d" % code)


def _connect(link, packet):
    link.close()
    link.inbox = ()
    link.topic = None
    link.pinged = False
    link.within(link.timeout)
    errand("link.dial", "tcp", link, packet)
    head = bytearray(4)
    try:
        link.fill(head)
    except OSError as e:
        hint = ""
        if not link.tls:
            hint = "; is it right that tls.enabled is false?"
        elif link.identity:  # with TLS 1.3, a server that refuses it says so only now
            hint = "; does the server take this board's certificate?"
        raise LinkError(str(e) + hint)
    link.seen = time.ticks_ms()
    if head[0] == _TLS_ALERT:
        raise LinkError("server.port speaks TLS, and tls.enabled is false")
    if head[:2] != b"\x20\2":
        raise LinkError("this is not an MQTT server")
    return head[3]
