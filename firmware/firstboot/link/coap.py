# CoAP on microCoAPy's client. MIT licence, (c) 2026 the firstboot authors.
#
# microCoAPy packs and parses messages and sends each of them once. What it leaves open is done here: deadlines,
# confirmable messages that are repeated (RFC 7252 4.2), answers matched by message id and token, duplicates, and
# separate responses, which ThingsBoard sends when it takes longer than 500 ms. With tls.enabled it is all in DTLS.

import os
import socket
import time
from micropython import const
from select import POLLIN

try:
    from microcoapy import Coap
    from microcoapy.coap_packet import CoapPacket
except ImportError:
    raise ImportError("transport coap needs microCoAPy: mpremote mip install github:insighio/microCoAPy")

from .. import __version__, errand, feed
from . import Denied, LinkError, Wire

_CON = const(0)
_NON = const(1)
_ACK = const(2)
_RST = const(3)
_GET = const(1)
_POST = const(2)
_URI_PATH = const(11)
_URI_QUERY = const(15)
_SUCCESS = const(2)  # the class of a code: its upper three bits
_BAD_REQUEST = const(0x80)
_UNAUTHORIZED = const(0x81)
_SENDS = const(5)  # once, and MAX_RETRANSMIT times again
_ACK_TIMEOUT = const(2000)  # ms
_MOST = const(1023)  # bytes of a packet; microCoAPy leaves out a payload that would make it longer
_STEP = const(1000)  # ms between two feedings of the watchdog during a wait
_RETRY = const(200)  # ms between two looks at what is to be sent again in a DTLS handshake
_PING = b"\x40\0\0\0"  # an empty CON message; the server answers it with a reset, which nobody waits for


class Link(Wire):
    """An endpoint that talks to ThingsBoard's CoAP transport (contract 2.5, 4.1, 5 and 6).

    microCoAPy takes it for its socket (`sendto`, `recvfrom`, `setblocking`), so that no name is resolved again
    with each packet, and nothing reaches its parser that would make it stumble.
    """

    def __init__(self, config):
        self.confirmable = errand("server", "prepare", self, config)[1]
        self.mid = int.from_bytes(os.urandom(2), "big")
        self.code = self.user = None
        self.coap = Coap()
        self.coap.debug = False
        self.coap.responseCallback = self._received
        self.coap.sock = self

    def ask(self, request, *_):
        """One provisioning request, one answer (bytes)."""
        self.close()
        self.user = self.identity = None
        # A refusal is 4.00 with JSON; without a body, the request was not understood (contract 4.1 and 4.6).
        self._post((b"provision",), request, _SENDS)
        if self.code == _BAD_REQUEST:
            if self.body:
                return self.body
            self._end(LinkError("malformed request"))
        self._judge()
        return self.body

    def open(self, credentials):
        """Be the device of `credentials`. Denied: the server answered with 4.01."""
        self.close()
        # A certificate has told who this is: then there is no token in the path (contract 2.4).
        self.identity = credentials if self.tls and "key" in credentials else None
        if not (credentials.get("token") or self.identity):
            raise LinkError("coap carries access tokens only, this device has %s" % credentials["credentialsType"])
        self.user = credentials.get("token", "").encode()
        # A GET is answered 4.04 where nothing is stored, and so does a server that is not ThingsBoard.
        self.report(('{"firstboot_version":"%s"}' % __version__).encode())

    def send(self, payload):
        """Telemetry (bytes of JSON); returns when the server has acknowledged it.

        With `coap.confirmable` false it is sent once, and listen() raises what the server has against it.
        """
        # ThingsBoard answers that, too (contract 4.6): where it did not, this one must be acknowledged, or a server
        # that is away and a network that is lost would never be noticed.
        self._post((self.user, b"telemetry"), payload, (self.confirmable or self.code is None) and _SENDS)
        self._judge()

    def report(self, payload):
        """Client attributes (bytes of JSON); returns when the server has acknowledged them."""
        self._post((self.user, b"attributes"), payload, _SENDS)
        self._judge()

    def listen(self, ms, handler=None):
        """Wait for `ms` milliseconds, acknowledging what the server repeats; nothing comes for the handler."""
        end = time.ticks_add(time.ticks_ms(), ms)
        while True:
            self._step(ms)
            self._judge()
            ms = time.ticks_diff(end, time.ticks_ms())
            if ms <= 0:
                return

    def _end(self, error):
        self.close()
        raise error

    def _judge(self):
        # What the last answer's code, if there was one, means to a device.
        code = self.code
        if code is None or code >> 5 == _SUCCESS:
            return
        if not code:
            self._end(LinkError("the server rejects the message"))
        is_denied = code == _UNAUTHORIZED and self.user is not None
        self._end((Denied if is_denied else LinkError)("%d.%02d" % (code >> 5, code & 31)))

    def get(self, path, query):
        """GET what the parts of `path` (bytes each) and of `query` (text each) name: (code, body)."""
        self._request(_GET, path, query, b"", _SENDS)
        if not self.code or self.code == _UNAUTHORIZED:
            self._judge()
        return self.code, self.body

    def _post(self, path, payload, sends):
        self._request(_POST, (b"api", b"v1") + path, (), payload, sends)

    def _request(self, method, path, query, payload, sends):
        # Leaves the answer in `code` (0: a reset) and `body`. `sends`: how often at most; 0 or False for a message
        # that wants no acknowledgement.
        packet = CoapPacket()
        size = 9 + len(payload)  # with header, token and payload marker
        for option, parts in ((_URI_PATH, path), (_URI_QUERY, query)):
            for part in [part for part in parts if part]:
                packet.addOption(option, part)
                size += 1 + (len(part) > 12) + len(part)
        if size > _MOST:
            self._end(LinkError("%d bytes do not fit into a packet" % size))
        try:
            if not self.sock:
                self._connect()
        except OSError as e:
            self._end(e)
        random = os.urandom(5)
        self.token = packet.token = random[:4]
        # In turn, not at random: an id may not come again within 247 s (RFC 7252 4.4), nor be 0 to microCoAPy.
        self.mid = packet.messageid = self.mid % 65535 + 1
        packet.method = method
        packet.payload = payload
        self.code = None
        if not sends:
            packet.type = _NON
            self._put(packet)
            return
        # 2 to 3 s at first where the deadline leaves room for that; in any case three repetitions come before it.
        wait = min(_ACK_TIMEOUT, self.timeout * 2 // 21)
        wait += wait * random[4] >> 9
        due = time.ticks_ms()
        end = time.ticks_add(due, self.timeout)
        self.sends = sends
        while self.code is None:
            now = time.ticks_ms()
            left = time.ticks_diff(end, now)
            if left <= 0:
                self._end(LinkError("no answer within %d ms" % self.timeout))
            if self.sends:
                if time.ticks_diff(due, now) <= 0:
                    self._put(packet)
                    self.sends -= 1
                    due = time.ticks_add(now, wait)
                    wait *= 2
                left = min(left, time.ticks_diff(due, now))
            self._step(left)

    def _connect(self):
        try:
            address = socket.getaddrinfo(self.host, self.port)[0][-1]
        except OSError as e:
            raise LinkError("server.host %s does not resolve (%s)" % (self.host, e))
        # Connected, it hears this one peer only.
        self.sock = sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        sock.setblocking(False)
        sock.connect(address)
        self.poll.register(sock, POLLIN)
        if self.tls:
            self.within(self.timeout)
            errand("link.tls", "start", self, _PING, "DTLS")
            self.poll.modify(self.sock, POLLIN)

    def ready(self, step):
        """Wait a little for the server's part of a handshake; LinkError at the deadline, naming the `step`."""
        left = time.ticks_diff(self.end, time.ticks_ms())
        if left <= 0:
            raise LinkError("%s took longer than %d ms" % (step, self.timeout))
        for _ in self.poll.ipoll(min(left, _RETRY)):
            pass
        feed()

    def _step(self, ms):
        for _ in self.poll.ipoll(min(ms, _STEP)):
            self.coap.loop(False)
        feed()

    def _put(self, packet):
        self.coap.sendPacket("127.0.0.1", 0, packet)  # sendto() knows better where to

    def _received(self, packet, sender):
        kind = packet.type
        code = packet.method
        is_response = code >> 5 >= _SUCCESS
        if kind == _CON:
            # Whichever response this is: one that was had before comes again because its ACK was lost.
            reply = CoapPacket()
            reply.type = _ACK if is_response else _RST
            reply.method = 0
            reply.messageid = packet.messageid
            self._put(reply)
        if kind >= _ACK and packet.messageid != self.mid:
            return
        if kind != _RST and not (is_response and packet.token == self.token):
            return
        self.code = code
        self.body = bytes(packet.payload or b"")

    # What microCoAPy asks of a socket

    def sendto(self, data, address):
        try:
            return self.sock.send(data)
        except OSError:  # lost, as a datagram may be: it will be sent again
            return 0

    def recvfrom(self, size):
        data = self.sock.recv(size) or b""  # None: DTLS kept what came for itself
        if len(data) < 4 or data[0] >> 6 != 1 or data[0] & 15 > 8:
            data = b""  # not CoAP: some releases would read on in a blocking socket
        elif data[0] >> 4 == 6 and not data[1]:
            # microCoAPy notes an empty ACK without a look at its message id, and answers what comes next wrongly.
            if data[2:4] == self.mid.to_bytes(2, "big"):
                self.sends = 0
            data = b""
        return data, None

    def setblocking(self, flag):
        pass
