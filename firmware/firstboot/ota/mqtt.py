# What an update asks of ThingsBoard over MQTT. MIT licence, (c) 2026 the firstboot authors.

import json
from micropython import const

from .. import errand

_ASK = b"v1/devices/me/attributes/request/2"
_ANSWER = b"v1/devices/me/attributes/response/2"
_CHUNK = const(1024)
_HEAD = const(64)  # bytes of a packet that are not payload


def attributes(link, keys):
    """The shared attributes of these keys (text, commas between), those that there are: a dict. OSError."""
    link.publish(_ASK, json.dumps({"sharedKeys": keys}).encode())
    try:
        return json.loads(_answer(link, _ANSWER)).get("shared") or {}
    except (ValueError, AttributeError):
        return {}


class Source:
    """The package's bytes, in pieces of `chunk`."""

    def __init__(self, link, package):
        self.link = link
        self.chunk = _CHUNK
        while self.chunk + _HEAD > link.most:
            self.chunk //= 2
        # They would come without a subscription, too, but at QoS 1: this board's PUBACK is a packet of its own, for
        # whose ACK Nagle's algorithm lets the next request wait: 44 ms for each chunk on loopback, 1 without.
        errand("link.mqtt_subscribe", "subscribe", link, [b"v2/%s/response/+/chunk/+" % package[0].encode()], b"\0")
        # A package is the same as long as this number is, on one connection (contract 9).
        self.topic = "v2/%s/request/%d/chunk/%%d" % (package[0], link.pid)

    def get(self, n):
        """Chunk number `n`. OSError; ValueError: the server has no such package."""
        link = self.link
        topic = (self.topic % n).encode()
        link.within(link.timeout)
        link.start(topic, b"%d" % self.chunk)
        return _answer(link, topic.replace(b"request", b"response"))


def _answer(link, wanted):
    # Other messages stay where they are, for listen().
    while True:
        for i in range(len(link.inbox)):
            topic, payload = link.inbox[i]
            if topic == b"v2/fw/error":
                raise ValueError("the server says " + str(payload, "utf-8"))
            if topic == wanted:
                del link.inbox[i]
                return payload
        link.next()
