# NIST P-256: keys, and ECDSA signatures with SHA-256. MIT licence, (c) 2026 the firstboot authors.
#
# On plain integers, which MicroPython does not compute in constant time. With a random source, scalars are blinded:
# a multiple of the group order is added, so that no two runs with one key walk through the same steps.

from hashlib import sha256

from micropython import const

from ..candidate import hmac_sha256

# A scalar is three rows of so many bits; a column of the rows picks one of seven points (Lim and Lee's comb).
_COLUMNS = const(107)  # three times this is 256 bits of the order, and 64 of the blinding


def number(data):
    """The integer in bytes `data`, big end first."""
    return int.from_bytes(data, "big")


def octets(value):
    """`value` as 32 bytes, big end first."""
    return value.to_bytes(32, "big")


# Not const(): in the .mpy, a large integer is decimal text, more than twice as long.
_P = number(
    b"\xff\xff\xff\xff\x00\x00\x00\x01\x00\x00\x00\x00\x00\x00\x00\x00"
    b"\x00\x00\x00\x00\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff"
)
N = number(
    b"\xff\xff\xff\xff\x00\x00\x00\x00\xff\xff\xff\xff\xff\xff\xff\xff"
    b"\xbc\xe6\xfa\xad\xa7\x17\x9e\x84\xf3\xb9\xca\xc2\xfc\x63\x25\x51"
)


def generate(urandom):
    """A private key: an integer from 1 to N - 1. `urandom(n) -> bytes`: the random source; OSError if it is stuck."""
    for _ in range(8):  # a second round is a matter of 1 in 2**32
        d = number(urandom(32))
        if 0 < d < N:
            return d
    raise OSError("random source")


def public(d, urandom=None):
    """The public key of `d`: 65 bytes, uncompressed (SEC 1, 2.3.3). With `urandom`: blinded."""
    x, y = _multiply(d, urandom)
    return b"\4" + octets(x) + octets(y)


def sign(d, message, urandom=None):
    """ECDSA-SHA256 of bytes `message`: (r, s). The nonce is RFC 6979's; with `urandom` hedged (3.6) and blinded."""
    z = number(sha256(message).digest()) % N
    seed = octets(d) + octets(z)
    blind = 1
    if urandom:
        seed += urandom(32)
        blind = number(urandom(16)) | 1
    v = b"\1" * 32
    key = bytes(32)
    for step in (b"\0", b"\1"):
        key = hmac_sha256(key, v + step + seed)
        v = hmac_sha256(key, v)
    while True:
        v = hmac_sha256(key, v)
        k = number(v)
        if 0 < k < N:
            r = _multiply(k, urandom)[0] % N
            s = _inverse(k * blind, N) * blind % N * (z + r * d) % N
            if r and s:
                return r, s
        key = hmac_sha256(key, v + b"\0")
        v = hmac_sha256(key, v)


def _inverse(a, m):
    # Euclid's; a third of the time of pow(a, m - 2, m).
    a %= m
    b = m
    u = 1
    v = 0
    while a != 1:
        q = b // a
        a, b = b - q * a, a
        u, v = v - q * u, u
    return u % m


def _teeth():
    # [None, G, 2**107 G, 2**107 G + G, 2**214 G, ...]: entry i is the sum of the teeth whose bits are set in i.
    data = (
        b"\x6b\x17\xd1\xf2\xe1\x2c\x42\x47\xf8\xbc\xe6\xe5\x63\xa4\x40\xf2"
        b"\x77\x03\x7d\x81\x2d\xeb\x33\xa0\xf4\xa1\x39\x45\xd8\x98\xc2\x96"
        b"\x4f\xe3\x42\xe2\xfe\x1a\x7f\x9b\x8e\xe7\xeb\x4a\x7c\x0f\x9e\x16"
        b"\x2b\xce\x33\x57\x6b\x31\x5e\xce\xcb\xb6\x40\x68\x37\xbf\x51\xf5"
        b"\x44\xdc\x4d\x9e\x94\x5c\x7d\xb2\x0e\x19\xd0\xc2\x8f\x9a\xe7\x51"
        b"\x8c\x3b\x0d\xa6\xf6\x84\x40\xe7\xf9\xc1\x8a\x46\x9a\xd7\x80\xb2"
        b"\xdb\xeb\x91\x87\x45\xc2\xf9\xc9\xf8\xfd\x19\xdc\x68\x3f\x5f\x95"
        b"\xb4\x77\x75\xe1\xc2\xce\xc3\x9d\x91\x43\x74\x13\xab\x93\xb1\x1e"
        b"\x87\xc1\xd9\x9c\x5e\xad\x72\xde\x2c\xbc\x4a\x51\x3a\x0a\x9b\xbd"
        b"\x51\x56\xb3\xfd\x89\xb8\x46\x39\xb1\xf1\x1f\x16\xf5\x29\xb1\xcc"
        b"\x7e\x16\x54\xc6\x98\x5d\x0b\xcd\xb8\x61\x7a\x6c\xa5\x5e\xf6\x83"
        b"\xbb\x0d\x0e\xb2\xc5\xb2\x75\xe3\xcf\x26\x97\x8d\xd5\xa9\x4d\x6c"
    )
    table = [None]
    for i in range(0, 192, 64):
        x = number(data[i : i + 32])
        y = number(data[i + 32 : i + 64])
        table += [_sum(x, y, point) for point in table]
    return table


def _sum(x, y, point):
    if not point:
        return x, y
    u, v = point
    slope = (v - y) * _inverse(u - x, _P)
    u = (slope * slope - x - u) % _P
    # A remainder holds on to the memory of what was divided; from bytes, an integer has half of that.
    return number(octets(u)), number(octets((slope * (x - u) - y) % _P))


def _multiply(k, urandom):
    # k times G, as (x, y). On the way in Jacobian coordinates: (x / z**2, y / z**3), and z = 0 before the first bit.
    p = _P
    table = _teeth()
    blinded = k
    if urandom:
        blinded += number(urandom(8)) * N
    x = y = z = 0
    for i in range(_COLUMNS - 1, -1, -1):
        if z:  # double (a is -3)
            a = z * z % p
            a = 3 * (x - a) * (x + a) % p
            z = 2 * y * z % p
            y = 2 * y * y % p
            b = 2 * x * y % p
            x = (a * a - 2 * b) % p
            y = (a * (b - x) - 2 * y * y) % p
        i = blinded >> i & 1 | (blinded >> i + _COLUMNS & 1) << 1 | (blinded >> i + 2 * _COLUMNS & 1) << 2
        if i:
            u, v = table[i]
            if not z:
                x, y, z = u, v, 1
                continue
            a = z * z % p
            b = (u * a - x) % p
            if not b:
                # The sum so far is plus or minus the table's point, which this formula can't add. Without blinding
                # both are different numbers below N at every column, so that it never happens.
                return _multiply(k, None)
            v = (v * a % p * z - y) % p
            z = z * b % p
            a = b * b % p
            b = b * a % p
            a = x * a % p
            x = (v * v - b - 2 * a) % p
            y = (v * (a - x) - y * b) % p
    z = _inverse(z, p)
    a = z * z % p
    return x * a % p, y * a * z % p
