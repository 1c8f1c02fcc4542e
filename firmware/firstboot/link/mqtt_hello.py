# MQTT's CONNECT packet, in the words of umqtt.simple's client. MIT licence, (c) 2026 the firstboot authors.
#
# An errand of link/mqtt.py: umqtt.simple is in memory while it words the packet, and gone before the connection and
# its TLS handshake need the heap. Both releases of it, the one on PyPI and the one of micropython-lib, do.

import umqtt.simple as umqtt

from .. import forget


class _Listener:
    # Stands where umqtt.simple has its socket module and its socket, and hears what it says.
    def __init__(self):
        self.data = bytearray()

    def socket(self, *_):
        return self

    getaddrinfo = __getitem__ = settimeout = connect = socket

    def write(self, data, size=None):
        self.data.extend(data if size is None else data[:size])

    def read(self, size):
        raise EOFError  # here it would wait for CONNACK: it has said all


def hello(link, credentials):
    """The CONNECT packet (bytearray) for the device of `credentials`; for a provision-only session with None."""
    if link.tls:
        link.identity = credentials if credentials and ("key" in credentials or "files" in credentials) else None
    client = password = b""
    user = b"provision"
    if credentials:
        user = credentials.get("token", credentials.get("username"))
        # umqtt.simple sends len() in characters before it sends bytes, so it must never see a str.
        client, user, password = [
            (text or "").encode() for text in (credentials.get("clientId"), user, credentials.get("password"))
        ]
    listener = _Listener()
    module = umqtt.socket
    try:
        umqtt.socket = listener
        umqtt.MQTTClient(client, link.host, link.port, user or None, password, link.keepalive).connect()
    except EOFError:
        pass
    finally:
        umqtt.socket = module
        forget("umqtt.simple")
        forget("umqtt")
    return listener.data
