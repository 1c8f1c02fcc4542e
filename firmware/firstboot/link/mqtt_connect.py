# Opening an MQTT session. MIT licence, (c) 2026 the firstboot authors.
#
# An errand of link/mqtt.py; mqtt_hello.py words what is sent, and mqtt_connack.py reads the answer.

from .. import errand
from . import Denied, LinkError


def login(link, hello):
    """connect() as a device. Denied: the server answered with a refusing CONNACK."""
    code = connect(link, hello)
    if code:
        # 1 and 3 say nothing about the credentials: protocol level, and "server unavailable" (contract 2.3).
        raise (LinkError if code in (1, 3) else Denied)("CONNACK code %d" % code)


def connect(link, hello):
    """Connect with what hello() has returned; returns CONNACK's code."""
    link.close()
    packet, identity = hello
    if link.tls:  # without, an attribute less: the table of these would be 96 bytes larger
        link.identity = identity
    link.inbox = ()
    link.topic = None
    link.pinged = False
    link.within(link.timeout)
    errand("link.dial", "tcp", link, packet)
    return errand("link.mqtt_connack", "read", link)
