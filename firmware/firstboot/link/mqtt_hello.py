# MQTT's CONNECT packet, in the words of umqtt.simple's client. MIT licence, (c) 2026 the firstboot authors.
#
# An errand of server_link.py and link/mqtt.py: umqtt.simple is in memory while it words the packet, and gone before the
# connection and its TLS handshake need the heap. Both releases of it, the one on PyPI and the one of micropython-lib,
# do.

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


def hello(keepalive, credentials=None):
    """The CONNECT packet (bytes) for the device of `credentials`, and these where TLS presents a certificate.

    With None for a provision-only session. Of what it has returned before it returns that.
    """
    if isinstance(credentials, tuple):
        return credentials
    import umqtt.simple as umqtt

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
        umqtt.MQTTClient(client, "", 1, user or None, password, keepalive).connect()
    except EOFError:
        pass
    finally:
        umqtt.socket = module
        forget("umqtt.simple")
        forget("umqtt")
    is_certificate = credentials and ("key" in credentials or "files" in credentials)
    return bytes(listener.data), credentials if is_certificate else None
