"""A CoAP message, to bytes and from bytes, with microCoAPy's limits and faults."""

from .coap_macros import COAP_CONTENT_FORMAT, COAP_METHOD, COAP_OPTION_NUMBER, COAP_TYPE

MOST = 1024  # bytes of a packet
_OPTIONS = 10  # of a packet
_MARKER = 0xFF


class CoapOption:
    def __init__(self, number=-1, buffer=None):
        self.number = number
        self.buffer = bytearray(_raw(buffer))


class CoapPacket:
    def __init__(self):
        self.type = COAP_TYPE.COAP_CON
        self.method = COAP_METHOD.COAP_GET
        self.token = bytearray()
        self.payload = bytearray()
        self.messageid = 0
        self.content_format = COAP_CONTENT_FORMAT.COAP_NONE
        self.query = bytearray()
        self.options = []

    def addOption(self, number, opt_payload):
        if len(self.options) < _OPTIONS:  # the eleventh is gone without a word
            self.options.append(CoapOption(number, opt_payload))

    def setUriHost(self, address):
        self.addOption(COAP_OPTION_NUMBER.COAP_URI_HOST, address)

    def setUriPath(self, url):
        for part in url.split("/"):
            self.addOption(COAP_OPTION_NUMBER.COAP_URI_PATH, part)


def to_bytes(packet):
    """The datagram. Trap: options and a payload that do not fit are left out."""
    token = _raw(packet.token)
    out = bytearray((0x40 | packet.type << 4 | len(token), packet.method, packet.messageid >> 8))
    out.append(packet.messageid & 0xFF)
    out.extend(token)
    last = 0
    for option in packet.options:
        size = len(option.buffer)
        if size and len(out) + size + 5 >= MOST:
            break
        if size:
            out.extend(_head(option.number - last, size))
            out.extend(option.buffer)
            last = option.number
    payload = _raw(packet.payload)
    if payload and len(out) + 1 + len(payload) < MOST:
        out.append(_MARKER)
        out.extend(payload)
    return out


def _head(delta, size):
    nibbles, tail = [], bytearray()
    for value, is_size in ((delta, False), (size, True)):
        if value < 13:
            nibbles.append(value)
        elif value < 269:
            nibbles.append(13)
            tail.append(value - 13)
        else:
            nibbles.append(14)
            # Trap: the high byte of a size is taken before the 269 are.
            tail.append((value if is_size else value - 269) >> 8)
            tail.append(value - 269 & 0xFF)
    return bytes((nibbles[0] << 4 | nibbles[1],)) + tail


def from_bytes(data):
    """The packet in `data`, or None where that is not CoAP."""
    if len(data) < 4 or data[0] >> 6 != 1 or data[0] & 15 > 8:
        return None
    packet = CoapPacket()
    packet.type = data[0] >> 4 & 3
    packet.method = data[1]
    packet.messageid = data[2] << 8 | data[3]
    i = 4 + (data[0] & 15)
    packet.token = data[4:i] or None
    number = 0
    try:
        while i < len(data) and data[i] != _MARKER:
            delta, size = data[i] >> 4, data[i] & 15
            i += 1
            delta, i = _extended(data, delta, i)
            size, i = _extended(data, size, i)
            if i + size > len(data):
                return None
            number += delta
            packet.options.append(CoapOption(number, data[i : i + size]))
            i += size
    except (IndexError, ValueError):
        return None
    packet.payload = data[i + 1 :] or None
    return packet


def _extended(data, nibble, i):
    if nibble == 13:
        return data[i] + 13, i + 1
    if nibble == 14:
        return (data[i] << 8 | data[i + 1]) + 269, i + 2
    if nibble == 15:
        raise ValueError
    return nibble, i


def _raw(value):
    # MicroPython takes a str where it takes bytes.
    return value.encode() if isinstance(value, str) else value or b""
