"""MQTT 5 around a codec of 3.1.1: properties are taken off what comes in, and none are put on what goes out.

Clients that speak 5 by themselves, such as ThingsBoard's own, work so; what the contract says is said for 3.1.1.
"""

from __future__ import annotations

from amqtt.mqtt.packet import CONNACK, CONNECT, DISCONNECT, PUBACK, PUBLISH, SUBACK, SUBSCRIBE, UNSUBACK, UNSUBSCRIBE

PAYLOAD_FORMAT_INVALID = 0x99
_WILL = 0x04
# CONNACK codes of 3.1.1, and the reasons that stand for them.
_REASONS = {0: 0, 2: 0x85, 3: 0x88, 5: 0x87}
_TOPIC_FILTER_INVALID = 0x8F


def is_connect(kind: int, body: bytes) -> bool:
    """True for the CONNECT of an MQTT 5 client."""
    return kind == CONNECT and body[:7] == b"\x00\x04MQTT\x05"


def without_properties(kind: int, flags: int, body: bytes) -> bytes:
    """The body of an incoming packet as 3.1.1 has it. ValueError for one that is cut short."""
    if kind == CONNECT:
        return _connect(body)
    if kind == PUBLISH:
        at = _text(body, 0) + (2 if flags & 0x06 else 0)
        return body[:at] + body[_properties(body, at) :]
    if kind == SUBSCRIBE:
        return body[:2] + _filters(body, _properties(body, 2))
    if kind == UNSUBSCRIBE:
        return body[:2] + body[_properties(body, 2) :]
    if kind == PUBACK:
        return body[:2]
    return b"" if kind == DISCONNECT else body


def with_properties(packet: bytes, filters: int = 0) -> bytes:
    """An outgoing packet as 5 has it; `filters` is how many an UNSUBACK is about."""
    kind, at = packet[0] >> 4, 1
    while packet[at] & 0x80:
        at += 1
    body = packet[at + 1 :]
    if kind == CONNACK:
        body = bytes([body[0], _REASONS[body[1]], 0])
    elif kind == PUBLISH:
        end = _text(body, 0) + (2 if packet[0] & 0x06 else 0)
        body = body[:end] + b"\x00" + body[end:]
    elif kind == SUBACK:
        body = body[:2] + b"\x00" + body[2:].replace(b"\x80", bytes([_TOPIC_FILTER_INVALID]))
    elif kind == UNSUBACK:
        body = body[:2] + bytes(1 + filters)
    return packet[:1] + _length(len(body)) + body


def puback(packet_id: int, reason: int) -> bytes:
    """A PUBACK with a reason."""
    return bytes([PUBACK << 4, 3]) + packet_id.to_bytes(2, "big") + bytes([reason])


def _connect(body: bytes) -> bytes:
    # Protocol name, level, flags, keepalive; properties; client id; the will's properties.
    head = body[:6] + b"\x04" + body[7:10]
    start = _properties(body, 10)
    end = _text(body, start)
    rest = body[_properties(body, end) :] if body[7] & _WILL else body[end:]
    return head + body[start:end] + rest


def _filters(body: bytes, at: int) -> bytes:
    # Of a filter's options only the QoS is in 3.1.1.
    found = bytearray()
    while at < len(body):
        end = _text(body, at)
        found += body[at:end] + bytes([body[end] & 0x03]) if end < len(body) else b""
        at = end + 1
    return bytes(found)


def _text(body: bytes, at: int) -> int:
    # Where a text with its length before it ends.
    end = at + 2 + int.from_bytes(body[at : at + 2], "big")
    if end > len(body):
        raise ValueError("a text is cut short")
    return end


def _properties(body: bytes, at: int) -> int:
    # Where the properties end.
    length = shift = 0
    while True:
        if at >= len(body) or shift > 21:
            raise ValueError("the properties are cut short")
        byte = body[at]
        at += 1
        length |= (byte & 0x7F) << shift
        shift += 7
        if not byte & 0x80:
            break
    if at + length > len(body):
        raise ValueError("the properties are cut short")
    return at + length


def _length(number: int) -> bytes:
    found = bytearray()
    while True:
        number, low = divmod(number, 128)
        found.append(low | (0x80 if number else 0))
        if not number:
            return bytes(found)
