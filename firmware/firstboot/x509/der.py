# DER (ITU-T X.690), as much as it takes to write certificates. MIT licence, (c) 2026 the firstboot authors.

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
    past = seconds // _DAY
    seconds %= _DAY
    year = 1970 + past // 366
    while days(year + 1, 1, 1) <= past:
        year += 1
    month = 12
    while days(year, month, 1) > past:
        month -= 1
    date = (year, month, past - days(year, month, 1) + 1, seconds // 3600, seconds // 60 % 60, seconds % 60)
    text = ("%04d%02d%02d%02d%02d%02dZ" % date).encode()
    return put(_UTC, text[2:]) if year < 2050 else put(_GENERALIZED, text)


def days(year, month, day):
    """Days since 1970-01-01. The port's clock is not asked: its epoch may be 2000, and 32 bits end in 2038."""
    # Years start in March here, so that the leap day is the last one.
    if month < 3:
        year -= 1
    return year * 365 + year // 4 - year // 100 + year // 400 + (153 * ((month + 9) % 12) + 2) // 5 + day - 719469
