"""An MQTT client with the face of umqtt.simple 1.3.4, for CPython. `socket` is micro.py's facade."""

import socket


class MQTTException(Exception):
    """args[0] is the code of the refusing CONNACK or SUBACK, or -1."""


class MQTTClient:
    def __init__(self, client_id, server, port=0, user=None, password=None, keepalive=0, ssl=False, ssl_params=None):
        if ssl:
            raise NotImplementedError("TLS is the firmware's own business")
        self.client_id = client_id
        self.server = server
        self.port = port or 1883
        self.user = user
        self.pswd = password
        self.keepalive = keepalive
        self.sock = None
        self.cb = None
        self.pid = 0
        self.will = None

    def set_callback(self, f):
        self.cb = f

    def set_last_will(self, topic, msg, retain=False, qos=0):
        self.will = topic, msg, retain, qos

    def connect(self, clean_session=True):
        """Session-present of the CONNACK; MQTTException(code) where it refuses."""
        flags = 2 if clean_session else 0
        fields = [self.client_id]
        if self.will:
            topic, msg, retain, qos = self.will
            flags |= 4 | qos << 3 | bool(retain) << 5
            fields += [topic, msg]
        if self.user is not None:
            flags |= 0xC0
            fields += [self.user, self.pswd]
        self.sock = socket.socket()
        self.sock.connect(socket.getaddrinfo(self.server, self.port)[0][-1])
        body = b"\0\4MQTT\4" + bytes((flags,)) + self.keepalive.to_bytes(2, "big")
        self._send(0x10, body + b"".join(map(_text, fields)))
        answer = self.sock.read(4)
        if answer[:2] != b"\x20\x02":
            raise AssertionError  # what umqtt.simple's assert comes to
        if answer[3]:
            raise MQTTException(answer[3])
        return answer[2] & 1

    def disconnect(self):
        self._send(0xE0, b"")
        self.sock.close()

    def ping(self):
        self._send(0xC0, b"")

    def publish(self, topic, msg, retain=False, qos=0):
        body = _text(topic)
        if qos:
            body += self._next_id()
        self._send(0x30 | qos << 1 | bool(retain), body + _bytes(msg))
        while qos and self.wait_msg() != 0x40:
            pass

    def subscribe(self, topic, qos=0):
        self._send(0x82, self._next_id() + _text(topic) + bytes((qos,)))
        while self.wait_msg() != 0x90:
            pass

    def wait_msg(self):
        """Read one packet; the type of it where it is an answer, None where there is nothing (any more)."""
        first = self.sock.read(1)
        self.sock.setblocking(True)
        if first is None:
            return None
        if first == b"":
            raise OSError(-1)
        kind = first[0] & 0xF0
        body = self._body()
        if kind == 0x90 and body[2] == 0x80:
            raise MQTTException(body[2])
        if kind != 0x30:
            return kind if kind != 0xD0 else None
        start = 2 + int.from_bytes(body[:2], "big")
        qos = first[0] >> 1 & 3
        if qos:
            self._send(0x40, body[start : start + 2])
        self.cb(body[2:start], body[start + 2 if qos else start :])
        return None

    def check_msg(self):
        self.sock.setblocking(False)
        return self.wait_msg()

    def _next_id(self):
        self.pid = self.pid % 65535 + 1
        return self.pid.to_bytes(2, "big")

    def _send(self, first, body):
        packet = bytearray((first,))
        size = len(body)
        while size > 127:
            packet.append(size & 127 | 128)
            size >>= 7
        packet.append(size)
        self.sock.write(packet)
        if body:
            self.sock.write(body)

    def _body(self):
        size = shift = 0
        while True:
            byte = self.sock.read(1)[0]
            size |= (byte & 127) << shift
            if byte < 128:
                return self.sock.read(size)
            shift += 7


def _bytes(value):
    return value.encode() if isinstance(value, str) else bytes(value)


def _text(value):
    data = _bytes(value)
    return len(data).to_bytes(2, "big") + data
