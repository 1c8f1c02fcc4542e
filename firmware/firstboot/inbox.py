# What the server sends to the user's app: RPC requests and shared attributes. MIT licence, (c) 2026 the firstboot
# authors.
#
# Over MQTT only. Imported when the app has a handler; one that fails is told, counted and never stops the loop.

import json
from micropython import const

from . import clean, errand, log

_ATTRIBUTES = b"v1/devices/me/attributes"
_ASK = b"v1/devices/me/attributes/request/1"
_ANSWER = b"v1/devices/me/attributes/response/1"
_REQUEST = b"v1/devices/me/rpc/request/"
_REPLY = b"v1/devices/me/rpc/response/"
_ASKS = const(3)  # connections that may end without the attributes' answer, until no more is asked for them
_MOST = const(65000)  # bytes of a reply: on more than 65,536 with the topic, the server closes (contract 3)
_TEXT = const(120)  # characters of an exception that the caller of an RPC is told


class Inbox:
    """Hand RPC requests to `app.on_rpc(method, params)` and shared attributes to `app.on_attributes(dict)`.

    The link's handler: called with topic and payload of each message. `errors`: how often the app has failed; `news`:
    whether the server has not been told of that yet.
    """

    def __init__(self, link, app):
        self.link = link
        self.on_rpc = getattr(app, "on_rpc", None)
        self.on_attributes = getattr(app, "on_attributes", None)
        self.asked = self.errors = 0
        self.news = False
        self.request = self.reply = None

    def open(self):
        """Subscribe, and ask for the shared attributes: once a connection. OSError as the link's verbs."""
        topics = []
        if self.on_rpc:
            topics.append(_REQUEST + b"+")
        if self.on_attributes:
            topics.append(_ATTRIBUTES)
        errand("link.mqtt_subscribe", "subscribe", self.link, topics)
        # The server keeps nothing for a board that is away, and tells nothing by itself when it is back (contract
        # 6). An answer for which the heap has no room ends the connection: not for ever.
        if self.on_attributes and self.asked < _ASKS:
            self.asked += 1
            self.link.publish(_ASK, b"{}")
        elif self.asked == _ASKS:
            self.asked += 1
            log("attributes: %d times no answer, not asked for again; is server.frame too small?" % _ASKS)

    def __call__(self, topic, payload):
        """One message from the server. OSError when the reply to it can't be sent."""
        try:
            doc = json.loads(payload)
        except (ValueError, RuntimeError, MemoryError):
            doc = None
        if not isinstance(doc, dict):
            log("server: a message of %d bytes that is no JSON object, ignored" % len(payload))
        elif topic.startswith(_REQUEST):
            self._rpc(topic, payload, doc)
        elif topic == _ATTRIBUTES:
            self._changed(doc)
        elif topic == _ANSWER:
            self.asked = 0
            doc = doc.get("shared")
            if doc and isinstance(doc, dict):
                self._changed(doc)

    def _rpc(self, topic, payload, doc):
        # What was not answered comes again after a reconnect (contract 7). Where only the reply got lost, the app
        # has done its work; the number alone does not tell, it starts again from 0 with the server.
        request = (topic, payload)
        if request != self.request:
            self.reply = self._call(self.on_rpc, doc.get("method"), doc.get("params"))
            self.request = request
        self.link.publish(_REPLY + topic[len(_REQUEST) :], self.reply)
        self.request = self.reply = None

    def _changed(self, values):
        if self.on_attributes:
            self._call(self.on_attributes, values)

    def _call(self, handler, *args):
        # An RPC's reply as bytes of JSON: what its handler returns, or what it raised.
        try:
            result = handler(*args)
            if handler is not self.on_rpc:
                return None
            reply = json.dumps(result).encode()
            if len(reply) > _MOST:
                raise ValueError("a reply of %d bytes is more than the server takes" % len(reply))
            return reply
        except Exception as e:  # noqa: BLE001 - the user's code may raise anything, and must not stop the board
            self.errors += 1
            self.news = True
            log("app: a handler failed, number", self.errors)
            errand("trace", "trace", e)
            return json.dumps({"error": clean("%s: %s" % (type(e).__name__, e))[:_TEXT]}).encode()
