# DER (ITU-T X.690), as much as certificates need. MIT licence, (c) 2026 the firstboot authors.
#
# Readers raise ValueError, and nothing else, on bytes that are damaged.

from micropython import const

_UTC = const(0x17)
_GENERALIZED = const(0x18)
_DAY = const(86400)


def put(tag, *parts):
    """The element with this tag and, joined, these contents."""
    body = b"".join(parts)
    size = len(body)
    if size < 128:
        head = bytes((tag, size))
    elif size < 256:
        head = bytes((tag, 0x81, size))
    else:
        head = bytes((tag, 0x82, size >> 8, size & 255))
    return head + body


def sequence(*parts):
    """A SEQUENCE of these elements."""
    return put(0x30, *parts)


def bits(data):
    """A BIT STRING of whole bytes."""
    return put(3, b"\0", data)


def integer(value):
    """An INTEGER from 0 to 2**256 - 1."""
    body = value.to_bytes(33, "big").lstrip(b"\0")
    if not body or body[0] > 127:
        return put(2, b"\0", body)
    return put(2, body)


def time(seconds):
    """Unix time `seconds`, from 1970 on: a UTCTime, or from 2050 on a GeneralizedTime (RFC 5280, 4.1.2.5)."""
    days = seconds // _DAY
    seconds %= _DAY
    year = 1970 + days // 366
    while _days(year + 1, 1, 1) <= days:
        year += 1
    month = 12
    while _days(year, month, 1) > days:
        month -= 1
    date = (year, month, days - _days(year, month, 1) + 1, seconds // 3600, seconds // 60 % 60, seconds % 60)
    text = ("%04d%02d%02d%02d%02d%02dZ" % date).encode()
    return put(_UTC, text[2:]) if year < 2050 else put(_GENERALIZED, text)


def read(data, at=0):
    """The element that starts at `at`: (tag, start of its content, end)."""
    if at + 2 <= len(data):
        tag = data[at]
        size = data[at + 1]
        at += 2
        if size > 127:
            # At most two bytes, 64 KiB; and a longer form than needed is not DER.
            count = size & 127
            size = int.from_bytes(data[at : at + count], "big") if 0 < count < 3 else 0
            at += count
            if size < 128 or size < 256 and count == 2:
                at = len(data) + 1
        if at + size <= len(data) and tag & 31 != 31:
            return tag, at, at + size
    raise ValueError("DER")


def items(data):
    """The elements, one after the other in bytes `data`: a list of (tag, content)."""
    found = []
    at = 0
    while at < len(data):
        tag, start, at = read(data, at)
        found.append((tag, data[start:at]))
    return found


def parts(data, tags):
    """The contents of the first elements in bytes `data`, which must have these tags (bytes); more may follow."""
    found = items(data)[: len(tags)]
    if bytes([tag for tag, _ in found]) != tags:
        raise ValueError("DER")
    return [body for _, body in found]


def seconds(tag, body):
    """The unix time of a UTCTime or GeneralizedTime."""
    if tag == _UTC:
        body = (b"20" if body < b"5" else b"19") + body
        tag = _GENERALIZED
    if tag == _GENERALIZED and len(body) == 15 and body[:14].isdigit() and body[14] == 90:  # Z
        century, year, month, day, hour, minute, second = [int(body[i : i + 2]) for i in range(0, 14, 2)]
        if 0 < month < 13 and 0 < day < 32 and hour < 24 and minute < 60 and second < 60:
            return _days(century * 100 + year, month, day) * _DAY + hour * 3600 + minute * 60 + second
    raise ValueError("time")


def _days(year, month, day):
    # Days since 1970-01-01. Years start in March here, so that the leap day is the last one. The clock of the port
    # is not asked: its epoch may be 2000, and 32 bits end in 2038.
    if month < 3:
        year -= 1
    return year * 365 + year // 4 - year // 100 + year // 400 + (153 * ((month + 9) % 12) + 2) // 5 + day - 719469
