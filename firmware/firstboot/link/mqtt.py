# MQTT 3.1.1 on umqtt.simple's client. MIT licence, (c) 2026 the firstboot authors.
#
# umqtt.simple words the CONNECT packet (mqtt_hello.py). What it leaves open is done here: deadlines (its wait_msg()
# blocks for ever in the middle of a packet), a QoS 1 publish in one write (in three, Nagle's algorithm and the
# server's delayed ACK make 22 a second), and a connection that is kept alive. What happens now and then
# (mqtt_connect.py, mqtt_lay.py, mqtt_packet.py) is in memory while it happens.

import time
from micropython import const

from .. import errand
from . import Wire

_PUBLISH = const(0x30)
_NEVER = const(0x8000000)  # ms, 37 hours: no keepalive, no PINGREQ


class Link(Wire):
    """A connection to ThingsBoard's MQTT transport (contract 3 and 4.2)."""

    def __init__(self, config):
        self.keepalive = errand("server", "prepare", self, config)[0]
        self.head = bytearray(2)
        self.inbox = ()
        self.topic = None
        self.pid = 0

    def ask(self, request, *hello):
        """One provisioning request, one answer (bytes). `hello`: mqtt_hello.py's, if there is one already."""
        hello = errand("link.mqtt_hello", "hello", self.keepalive, *hello)
        return errand("link.mqtt_ask", "ask", self, request, errand("link.mqtt_connect", "connect", self, hello))

    def open(self, credentials):
        """Connect as the device of `credentials`, or of those that mqtt_hello.py has worded already.

        Denied: the server answered with a refusing CONNACK.
        """
        errand("link.mqtt_connect", "login", self, errand("link.mqtt_hello", "hello", self.keepalive, credentials))

    def send(self, payload):
        """Telemetry (bytes of JSON); returns when the server has acknowledged it."""
        self.publish(b"v1/devices/me/telemetry", payload)

    def report(self, payload):
        """Client attributes (bytes of JSON); returns when the server has acknowledged them."""
        self.publish(b"v1/devices/me/attributes", payload)

    def publish(self, topic, payload):
        """Publish at QoS 1 and wait for the PUBACK. No heap is taken while topic and size stay the same."""
        self.within(self.timeout)
        self.start(topic, payload)
        while self.next() != self.pid:
            self.ready("publish")

    def listen(self, ms, handler=None):
        """Wait for `ms` milliseconds, give each arriving message to handler(topic, payload), both bytes.

        Sends PINGREQ after a third of the keepalive without a packet from the server, and raises OSError when
        there was none for one and a half of it.
        """
        end = time.ticks_add(time.ticks_ms(), ms)
        beat = self.keepalive * 1000 // 3 or _NEVER
        while True:
            while self.inbox:
                message = self.inbox[0]
                self.inbox = self.inbox[1:]
                if handler:
                    handler(*message)
            now = time.ticks_ms()
            ms = time.ticks_diff(end, now)
            wait = time.ticks_diff(self.seen, now) + (beat * 7 // 2 if self.pinged else beat)
            self.within(min(ms, wait))
            if self.ready(None):
                self.within(self.timeout)
                self.next()
            elif wait < ms:
                errand("link.mqtt_lay", "ping", self)
            if ms <= 0:
                return

    def close(self):
        """Say DISCONNECT where that is possible, and close."""
        try:
            if self.sock:
                self.within(0)
                self.write(b"\xe0\0", 0, 2)
        except OSError:
            pass
        self.drop()

    def start(self, topic, payload):
        """Send a QoS 1 publish without waiting for its PUBACK; its packet identifier is in `pid`."""
        if topic is not self.topic:
            errand("link.mqtt_lay", "lay", self, topic)
        out = self.out
        out[self.tail] = payload
        self.pid = pid = self.pid % 65535 + 1
        i = len(topic) + 6
        out[i] = pid >> 8
        out[i + 1] = pid & 255
        size = len(out) - 4
        start = i = 3 - (size > 127) - (size > 16383)
        while i < 3:
            out[i] = size & 127 | 128
            size >>= 7
            i += 1
        out[3] = size
        out[start - 1] = _PUBLISH | 2
        self.write(out, start - 1, len(out) - start + 1)

    def next(self):
        """Read one packet; returns a PUBACK's packet identifier, else 0. A PUBLISH goes into `inbox`."""
        head = self.head
        self.fill(head)
        pid = 0
        if head == b"\x40\2":
            self.fill(head)
            pid = head[0] << 8 | head[1]
        elif head != b"\xd0\0":  # PINGRESP
            errand("link.mqtt_packet", "read", self, head[0], head[1])
        self.seen = time.ticks_ms()
        self.pinged = False
        return pid
