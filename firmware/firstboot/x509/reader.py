# Readers of certificates and keys, and of the DER that they are in. MIT licence, (c) 2026 the firstboot authors.
#
# Readers raise ValueError, and nothing else, on bytes that are damaged; its text says what is wrong. They don't check
# signatures: whoever trusts a certificate does.

from micropython import const

from . import der, p256

_UTC = const(0x17)
_GENERALIZED = const(0x18)
_DAY = const(86400)

# Whole elements.
_P256 = const(b"\x06\x08\x2a\x86\x48\xce\x3d\x03\x01\x07")
_COMMON_NAME = const(b"\x06\x03\x55\x04\x03")
# What comes before the coordinates in a SubjectPublicKeyInfo: ecPublicKey, the curve, "uncompressed".
_PUBLIC = const(b"\x30\x13\x06\x07\x2a\x86\x48\xce\x3d\x02\x01\x06\x08\x2a\x86\x48\xce\x3d\x03\x01\x07\x03\x42\x00\x04")


def read_key(data):
    """The private key in an ECPrivateKey. ValueError: damaged, or of another curve."""
    d = 0
    curve = _P256
    try:
        _, secret, curve = parts(_whole(data), b"\2\4\xa0")
        d = p256.number(secret)
    except ValueError:
        pass
    if curve != _P256:
        raise ValueError("key is not of P-256")
    if not 0 < d < p256.N:
        raise ValueError("damaged key")
    return d


def read_cert(data):
    """A certificate's (CN, not before, not after, public key): text, unix seconds, 65 bytes. "" if there is no CN."""
    name = ""
    _, _, _, validity, subject, key = _fields(data)
    try:
        start, end = [seconds(tag, body) for tag, body in items(validity)]
        for _, group in items(subject):
            for _, pair in items(group):
                if pair.startswith(_COMMON_NAME):
                    ((_, name),) = items(pair[len(_COMMON_NAME) :])
                    name = name.decode()
    except ValueError:
        raise ValueError("damaged certificate")
    if len(key) != 89 or not key.startswith(_PUBLIC):
        raise ValueError("the certificate's key is not of P-256")
    return name, start, end, key[24:]


def read_chain(data):
    """The certificates in `data`, one after the other, each signed by the next one: a list."""
    found = []
    issuer = None
    at = 0
    while at < len(data) or not found:
        start = at
        try:
            at = read(data, at)[2]
        except ValueError:
            raise ValueError("damaged certificate")
        found.append(data[start:at])
        fields = _fields(found[-1])
        if issuer is not None and issuer != fields[4]:
            raise ValueError("chain in the wrong order")
        issuer = fields[2]
    return found


def check(cert, key, now=None):
    """Raise ValueError unless `key` is the private key of `cert`, and it is valid `now`.

    `key`: None where a chip holds it; `now`: unix seconds, None where there is no clock.
    """
    _, start, end, public = read_cert(cert)
    if key is not None and p256.public(read_key(key)) != public:
        raise ValueError("key does not match the certificate")
    if now is not None:
        if now < start:
            raise ValueError("certificate not yet valid")
        if now > end:
            raise ValueError("certificate expired")


def _whole(data):
    tag, start, end = read(data)
    if tag != 0x30 or end != len(data):
        raise ValueError("DER")
    return data[start:]


def _fields(data):
    # The contents of serial number, algorithm, issuer, validity, subject and key.
    try:
        body = parts(_whole(data), b"\x30\x30\3")[0]
        if body[:1] == b"\xa0":  # version, left out by a version 1 certificate
            body = body[read(body)[2] :]
        return parts(body, b"\2\x30\x30\x30\x30\x30")
    except ValueError:
        raise ValueError("damaged certificate")


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
            return der.days(century * 100 + year, month, day) * _DAY + hour * 3600 + minute * 60 + second
    raise ValueError("time")
