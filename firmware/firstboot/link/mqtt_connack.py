# The answer to an MQTT CONNECT. MIT licence, (c) 2026 the firstboot authors.
#
# An errand of link/mqtt_connect.py, so that it is not in memory during a TLS handshake.

import time
from micropython import const

from . import LinkError

_TLS_ALERT = const(0x15)


def read(link):
    """CONNACK's code (MQTT 3.2.2.3)."""
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
