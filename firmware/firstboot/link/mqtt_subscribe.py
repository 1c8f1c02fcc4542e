# MQTT's SUBSCRIBE. MIT licence, (c) 2026 the firstboot authors.
#
# An errand of inbox.py, once a connection.


def subscribe(link, topics):
    """Subscribe to `topics` (bytes each) at QoS 1.

    Nobody waits for the SUBACK: the server answers in order, so the next PUBACK says that this was heard too, and
    what is subscribed to is what ThingsBoard allows (contract 3.1).
    """
    link.pid = pid = link.pid % 65535 + 1
    body = bytearray((pid >> 8, pid & 255))
    for topic in topics:
        body.extend(bytes((0, len(topic))) + topic + b"\1")
    link.within(link.timeout)
    link.write(bytes((0x82, len(body))) + body, 0, len(body) + 2)
