"""The client: sends a packet once, reads a packet at a time, and leaves the rest of RFC 7252 to its caller."""

import os
import socket
import time

from .coap_macros import COAP_CONTENT_FORMAT, COAP_METHOD, COAP_OPTION_NUMBER, COAP_TYPE
from .coap_packet import MOST, CoapPacket, from_bytes, to_bytes

_NONE = COAP_CONTENT_FORMAT.COAP_NONE


class Coap:
    class TRANSMISSION_STATE:
        STATE_IDLE = 0
        STATE_SEPARATE_ACK_RECEIVED_WAITING_DATA = 1

    def __init__(self):
        self.debug = True
        self.sock = None
        self.responseCallback = None
        self.isServer = False
        self.discardRetransmissions = False
        self.state = self.TRANSMISSION_STATE.STATE_IDLE
        self._last = None

    def start(self, port=5683):
        self.sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.sock.bind(socket.getaddrinfo("0.0.0.0", port)[0][-1])

    def stop(self):
        if self.sock is not None:
            self.sock.close()
            self.sock = None

    def setCustomSocket(self, custom_socket):
        self.stop()
        self.sock = custom_socket

    def sendPacket(self, ip, port, coapPacket):
        # Trap: both options are put into the caller's packet, once more on each call.
        if coapPacket.content_format != _NONE:
            value = coapPacket.content_format
            coapPacket.addOption(COAP_OPTION_NUMBER.COAP_CONTENT_FORMAT, bytes((value >> 8, value & 0xFF)))
        if coapPacket.query:
            coapPacket.addOption(COAP_OPTION_NUMBER.COAP_URI_QUERY, coapPacket.query)
        data = to_bytes(coapPacket)
        self._log("out", data)
        try:
            return self.sock.sendto(data, socket.getaddrinfo(ip, port)[0][-1]) and coapPacket.messageid
        except Exception as e:  # noqa: BLE001 - trap: printed, not raised
            print("Exception while sending packet...", repr(e))
            return 0

    def sendEx(self, ip, port, url, packet):
        self.state = self.TRANSMISSION_STATE.STATE_IDLE
        high, low = os.urandom(2)
        packet.messageid = high << 8 | low  # trap: 0 is one of them, and reads as "not sent"
        packet.setUriHost(ip)
        packet.setUriPath(url)
        return self.sendPacket(ip, port, packet)

    def send(self, ip, port, url, type, method, token, payload, content_format, query_option):
        packet = CoapPacket()
        packet.type, packet.method, packet.token = type, method, token
        packet.payload, packet.content_format, packet.query = payload, content_format, query_option
        return self.sendEx(ip, port, url, packet)

    def get(self, ip, port, url, token=b""):
        return self._request(COAP_TYPE.COAP_CON, COAP_METHOD.COAP_GET, ip, port, url, token=token)

    def put(self, ip, port, url, payload=b"", query_option=None, content_format=_NONE, token=b""):
        method = COAP_METHOD.COAP_PUT
        return self._request(COAP_TYPE.COAP_CON, method, ip, port, url, payload, query_option, content_format, token)

    def post(self, ip, port, url, payload=b"", query_option=None, content_format=_NONE, token=b""):
        method = COAP_METHOD.COAP_POST
        return self._request(COAP_TYPE.COAP_CON, method, ip, port, url, payload, query_option, content_format, token)

    def getNonConf(self, ip, port, url, token=b""):
        return self._request(COAP_TYPE.COAP_NONCON, COAP_METHOD.COAP_GET, ip, port, url, token=token)

    def putNonConf(self, ip, port, url, payload=b"", query_option=None, content_format=_NONE, token=b""):
        kind, method = COAP_TYPE.COAP_NONCON, COAP_METHOD.COAP_PUT
        return self._request(kind, method, ip, port, url, payload, query_option, content_format, token)

    def postNonConf(self, ip, port, url, payload=b"", query_option=None, content_format=_NONE, token=b""):
        kind, method = COAP_TYPE.COAP_NONCON, COAP_METHOD.COAP_POST
        return self._request(kind, method, ip, port, url, payload, query_option, content_format, token)

    def loop(self, blocking=True):
        """Read one packet at most; True where the callback was due."""
        if self.sock is None:
            return False
        self.sock.setblocking(blocking)
        try:
            data, sender = self.sock.recvfrom(MOST)
        except Exception:  # noqa: BLE001 - trap: swallowed
            data = None
        self.sock.setblocking(True)
        packet = from_bytes(data) if data else None
        if packet is None:
            return False
        self._log("in ", data)
        if self.discardRetransmissions:
            if data == self._last:
                return False
            self._last = data
        return self._handle(packet, sender)

    def poll(self, timeoutMs=-1, pollPeriodMs=500):
        """loop() until it handles a packet or `timeoutMs` have passed; always once."""
        end = _now() + timeoutMs
        while not self.loop(False):
            if _now() >= end:
                return False
            time.sleep(pollPeriodMs / 1000)
        return True

    def _request(self, kind, method, ip, port, url, payload=None, query=None, content_format=_NONE, token=b""):
        return self.send(ip, port, url, kind, method, token, payload, content_format, query)

    def _handle(self, packet, sender):
        if packet.type == COAP_TYPE.COAP_ACK and packet.method == COAP_METHOD.COAP_EMPTY_MESSAGE:
            # Trap: of whichever message this is the acknowledgement.
            self.state = self.TRANSMISSION_STATE.STATE_SEPARATE_ACK_RECEIVED_WAITING_DATA
            return False
        if self.state != self.TRANSMISSION_STATE.STATE_IDLE:
            self.state = self.TRANSMISSION_STATE.STATE_IDLE
            self._acknowledge(packet, sender)
        if self.responseCallback:
            self.responseCallback(packet, sender)
        return True

    def _acknowledge(self, packet, sender):
        ack = CoapPacket()
        ack.type = COAP_TYPE.COAP_ACK
        ack.method = COAP_TYPE.COAP_ACK  # trap: the type where the code belongs, so 0.02 instead of 0.00
        ack.messageid, ack.token = packet.messageid, packet.token
        self.sendPacket(sender[0], sender[1], ack)

    def _log(self, way, data):
        if self.debug:
            print("[microcoapy]:", way, bytes(data))


def _now():
    if hasattr(time, "monotonic"):
        return time.monotonic() * 1000
    return time.ticks_ms()  # no test runs for the 12 days until this wraps around
