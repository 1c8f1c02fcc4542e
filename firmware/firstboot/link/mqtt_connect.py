# MQTT's CONNECT and CONNACK, by umqtt.simple's client. MIT licence, (c) 2026 the firstboot authors.
#
# An errand of link/mqtt.py: umqtt.simple is in memory while a connection is made, and not afterwards.

import time
import umqtt.simple as umqtt
from micropython import const

from .. import forget
from . import Denied, LinkError
from .wire import Wire

_TLS_ALERT = const(0x15)


class _Dial:
    # Stands where umqtt.simple has its socket module and its socket while it connects: both releases of it, the
    # one on PyPI and the one of micropython-lib, ask for no more than this. The packet leaves in one write.
    def __init__(self, link):
        self.link = link
        self.out = bytearray()

    def socket(self, *_):
        return self

    getaddrinfo = __getitem__ = settimeout = connect = socket

    def write(self, data, size=None):
        self.out.extend(data if size is None else data[:size])

    def read(self, size):
        link = self.link
        Wire.open(link, self.out)
        head = bytearray(size)
        try:
            link.fill(head)
        except OSError as e:
            raise LinkError("%s%s" % (e, "" if link.tls else "; is it right that tls.enabled is false?"))
        if head[0] == _TLS_ALERT:
            raise LinkError("server.port speaks TLS, and tls.enabled is false")
        return head


def ask(link, request):
    """One provisioning request, one answer (bytes), in a provision-only session.

    Neither SUBSCRIBE nor SUBACK: releases up to 3.8.1 send none, and the answer comes without a subscription.
    """
    link.identity = None
    _connect(link, b"", b"provision", b"")
    link.start(b"/provision/request", request)
    while True:
        link.next()
        for topic, payload in link.inbox:
            if topic == b"/provision/response":
                return payload


def login(link, credentials):
    """Connect as the device of `credentials`. Denied: the server answered with a refusing CONNACK."""
    link.identity = credentials if "key" in credentials or "files" in credentials else None
    user = credentials.get("token", credentials.get("username"))
    # umqtt.simple sends len() in characters before it sends bytes, so it must never see a str.
    _connect(
        link, *[(text or "").encode() for text in (credentials.get("clientId"), user, credentials.get("password"))]
    )


def _connect(link, client, user, password):
    link.close()
    link.inbox.clear()
    link.topic = None
    link.pinged = False
    link.within(link.timeout)
    module = umqtt.socket
    try:
        umqtt.socket = _Dial(link)
        umqtt.MQTTClient(client, link.host, link.port, user or None, password, link.keepalive).connect()
    except umqtt.MQTTException as e:
        code = e.args[0]
        # 1 and 3 say nothing about the credentials: protocol level, and "server unavailable" (contract 2.3).
        raise (LinkError if code in (1, 3) or user == b"provision" else Denied)("CONNACK %d" % code)
    except AssertionError:
        raise LinkError("this is not an MQTT server")
    finally:
        umqtt.socket = module
        forget("umqtt.simple")
        forget("umqtt")
    link.seen = time.ticks_ms()
