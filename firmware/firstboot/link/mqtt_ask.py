# Provisioning over MQTT. MIT licence, (c) 2026 the firstboot authors.
#
# An errand of link/mqtt.py, in a provision-only session.

from . import LinkError

_REQUEST = b"/provision/request"
_RESPONSE = b"/provision/response"


def ask(link, request, code):
    """One provisioning request, one answer (bytes). `code`: of the CONNACK that the session began with.

    Neither SUBSCRIBE nor SUBACK: releases up to 3.8.1 send none, and the answer comes without a subscription.
    """
    if code:
        raise LinkError("CONNACK code %d" % code)
    # A publish at QoS 1, once: not with the link's buffer for many, so that less is in memory.
    size = 4 + len(_REQUEST) + len(request)
    packet = bytearray(b"\x32")
    while size > 127:  # the remaining length (MQTT 2.2.3)
        packet.append(size & 127 | 128)
        size >>= 7
    packet.append(size)
    for part in (bytes((0, len(_REQUEST))), _REQUEST, b"\0\1", request):
        packet.extend(part)
    link.within(link.timeout)
    link.write(packet, 0, len(packet))
    packet = None
    while True:
        link.next()
        for topic, payload in link.inbox:
            if topic == _RESPONSE:
                link.inbox = ()
                return payload
        link.ready("waiting for the server's answer")
