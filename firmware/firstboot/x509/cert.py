# Certificates, requests for them, and their keys. MIT licence, (c) 2026 the firstboot authors.
#
# All in DER, all for P-256. What is signed is made and sealed in two steps, so that the arithmetic need not be in
# memory with this; reader.py is the way back.

from binascii import b2a_base64

from micropython import const

from . import der

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


def body(name, public, serial, now=None):
    """What there is to sign of a certificate for device `name`, of which the first 64 characters become its CN.

    `serial`: 16 random bytes. `now`: unix seconds; without a clock (None, or before 2020): valid from 2020 to 2049.
    """
    start = _START
    end = _END
    if now and now > _START:
        start = (now // _DAY - 1) * _DAY  # from yesterday on: the server's clock may be behind
        end = start + _VALID
    name = _name(name)
    return der.sequence(
        _VERSION_3,
        der.put(2, bytes((serial[0] & 0x3F | 0x40,)), serial[1:]),  # positive, and never zero
        _ECDSA_SHA256,
        name,
        der.sequence(der.time(start), der.time(end)),
        name,
        der.sequence(_PUBLIC, public[1:]),
        _EXTENSIONS,
    )


def seal(data, r, s):
    """`data` (such as body() makes) with its signature."""
    return der.sequence(data, _ECDSA_SHA256, der.bits(der.sequence(der.integer(r), der.integer(s))))


def self_signed(d, name, urandom, now=None, public=None):
    """A certificate with the private key `d`, by its own signature. `public`: p256.public(d), if known."""
    from . import p256

    data = body(name, public or p256.public(d, urandom), urandom(16), now)
    return seal(data, *p256.sign(d, data, urandom))


def request(d, name, urandom, public=None):
    """A certification request (PKCS #10, RFC 2986) for device `name`; arguments as above."""
    from . import p256

    key = der.sequence(_PUBLIC, (public or p256.public(d, urandom))[1:])
    data = der.sequence(b"\2\1\0", _name(name), key, b"\xa0\0")
    return seal(data, *p256.sign(d, data, urandom))


def key_der(d, public):
    """The private key `d` with its public key (65 bytes), as an ECPrivateKey (RFC 5915)."""
    secret = der.put(4, d.to_bytes(32, "big"))
    return der.sequence(b"\2\1\1", secret, der.put(0xA0, _P256), der.put(0xA1, der.bits(public)))


def credentials(d, public, data, signature):
    """Credentials (as codec.py describes them) of the key `d` and the certificate whose body() is `data`."""
    certificate, key = seal(data, *signature), key_der(d, public)
    return {"credentialsType": "X509_CERTIFICATE", "certificate": text(certificate), "key": text(key)}


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


def _name(name):
    # A Name of one part: SEQUENCE of SET of SEQUENCE of CN and UTF8String.
    return der.sequence(der.put(0x31, der.sequence(_COMMON_NAME, der.put(0x0C, name[:_NAME].encode()))))
