# Certificates, requests for them, and their keys. MIT licence, (c) 2026 the firstboot authors.
#
# All in DER, all for P-256. Readers raise ValueError, and nothing else; its text says what is wrong. They don't check
# signatures: whoever trusts a certificate does.

from binascii import b2a_base64

from micropython import const

from . import der, p256

# The window without a clock, and how long a certificate is valid with one: 20 years.
_START = const(1577836800)  # 2020-01-01 00:00:00
_END = const(2524607999)  # 2049-12-31 23:59:59, the last second of UTCTime
_DAY = const(86400)
_VALID = const(631152000)

_NAME = const(64)  # characters of a common name (X.520, ub-common-name)

# Whole elements: OIDs and all that never changes.
_VERSION_3 = const(b"\xa0\x03\x02\x01\x02")
_ECDSA_SHA256 = const(b"\x30\x0a\x06\x08\x2a\x86\x48\xce\x3d\x04\x03\x02")
_P256 = const(b"\x06\x08\x2a\x86\x48\xce\x3d\x03\x01\x07")
_COMMON_NAME = const(b"\x06\x03\x55\x04\x03")
# What comes before the coordinates in a SubjectPublicKeyInfo: ecPublicKey, the curve, "uncompressed".
_PUBLIC = const(b"\x30\x13\x06\x07\x2a\x86\x48\xce\x3d\x02\x01\x06\x08\x2a\x86\x48\xce\x3d\x03\x01\x07\x03\x42\x00\x04")
# basicConstraints (critical): not a CA; keyUsage (critical): digitalSignature; extKeyUsage: clientAuth.
_EXTENSIONS = const(
    b"\xa3\x35\x30\x33\x30\x0c\x06\x03\x55\x1d\x13\x01\x01\xff\x04\x02\x30\x00"
    b"\x30\x0e\x06\x03\x55\x1d\x0f\x01\x01\xff\x04\x04\x03\x02\x07\x80"
    b"\x30\x13\x06\x03\x55\x1d\x25\x04\x0c\x30\x0a\x06\x08\x2b\x06\x01\x05\x05\x07\x03\x02"
)


def self_signed(d, name, urandom, now=None, public=None):
    """A certificate with the private key `d` for device `name`, of which the first 64 characters become its CN.

    `now`: unix seconds; without a clock (None, or before 2020) it is valid from 2020 to 2049.
    `public`: p256.public(d), if known.
    """
    start = _START
    end = _END
    if now and now > _START:
        start = (now // _DAY - 1) * _DAY  # from yesterday on: the server's clock may be behind
        end = start + _VALID
    serial = urandom(16)
    name = _name(name)
    return _signed(
        d,
        urandom,
        _VERSION_3,
        der.put(2, bytes((serial[0] & 0x3F | 0x40,)), serial[1:]),  # positive, and never zero
        _ECDSA_SHA256,
        name,
        der.sequence(der.time(start), der.time(end)),
        name,
        _public(d, urandom, public),
        _EXTENSIONS,
    )


def request(d, name, urandom, public=None):
    """A certification request (PKCS #10, RFC 2986) for device `name`; arguments as above."""
    return _signed(d, urandom, b"\2\1\0", _name(name), _public(d, urandom, public), b"\xa0\0")


def key_der(d, public):
    """The private key `d` with its public key (65 bytes), as an ECPrivateKey (RFC 5915)."""
    return der.sequence(b"\2\1\1", der.put(4, p256.octets(d)), der.put(0xA0, _P256), der.put(0xA1, der.bits(public)))


def text(data):
    """Base64 of `data` on one line."""
    return b2a_base64(data).decode().strip()


def pem(data, label):
    """`data` as PEM (RFC 7468); `label`: "CERTIFICATE", "CERTIFICATE REQUEST" or "EC PRIVATE KEY"."""
    lines = ["-----BEGIN %s-----\n" % label]
    for i in range(0, len(data), 48):
        lines.append(b2a_base64(data[i : i + 48]).decode())
    lines.append("-----END %s-----\n" % label)
    return "".join(lines)


def read_key(data):
    """The private key in an ECPrivateKey. ValueError: damaged, or of another curve."""
    d = 0
    curve = _P256
    try:
        _, secret, curve = der.parts(_whole(data), b"\2\4\xa0")
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
        start, end = [der.seconds(tag, body) for tag, body in der.items(validity)]
        for _, group in der.items(subject):
            for _, pair in der.items(group):
                if pair.startswith(_COMMON_NAME):
                    ((_, name),) = der.items(pair[len(_COMMON_NAME) :])
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
            at = der.read(data, at)[2]
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


def _name(name):
    # A Name of one part: SEQUENCE of SET of SEQUENCE of CN and UTF8String.
    return der.sequence(der.put(0x31, der.sequence(_COMMON_NAME, der.put(0x0C, name[:_NAME].encode()))))


def _public(d, urandom, public):
    return der.sequence(_PUBLIC, (public or p256.public(d, urandom))[1:])


def _signed(d, urandom, *parts):
    body = der.sequence(*parts)
    r, s = p256.sign(d, body, urandom)
    return der.sequence(body, _ECDSA_SHA256, der.bits(der.sequence(der.integer(r), der.integer(s))))


def _whole(data):
    tag, start, end = der.read(data)
    if tag != 0x30 or end != len(data):
        raise ValueError("DER")
    return data[start:]


def _fields(data):
    # The contents of serial number, algorithm, issuer, validity, subject and key.
    try:
        body = der.parts(_whole(data), b"\x30\x30\3")[0]
        if body[:1] == b"\xa0":  # version, left out by a version 1 certificate
            body = body[der.read(body)[2] :]
        return der.parts(body, b"\2\x30\x30\x30\x30\x30")
    except ValueError:
        raise ValueError("damaged certificate")
