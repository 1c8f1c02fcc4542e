"""Seeded mutation of what servers say: reproducible from (seed, target, number)."""

import random

# What stumbles parsers: numbers at their limits, half characters, nesting, framing.
WORDS = [
    *(b'"status"', b'"SUCCESS"', b'"FAILURE"', b'"NOT_FOUND"', b'"credentialsType"', b'"credentialsValue"'),
    *(
        b'"ACCESS_TOKEN"',
        b'"MQTT_BASIC"',
        b'"X509_CERTIFICATE"',
        b'"provisionDeviceStatus"',
        b'"userName"',
        b'"password"',
    ),
    *(
        b"null",
        b"true",
        b"NaN",
        b"-Infinity",
        b"1e999",
        b"-0",
        b"18446744073709551616",
        b"1" * 400,
        b"\\ud800",
        b"\\u0000",
    ),
    *(b"\\", b'"', b"{", b"}", b"[", b"]", b",", b":", b"[" * 200, b'{"a":' * 150, b"\xff", b"\xc3", b"\xed\xa0\x80"),
    *(
        b"\xff\xff\xff\x7f",
        b"\x80\x80\x80\x01",
        b"\xff\xff",
        b"\0",
        b"\x20\x02\0\0",
        b"\x40\x02\0\1",
        b"\xd0\0",
        b"\x30",
    ),
    *(
        b"HTTP/1.1 200 OK\r\n",
        b"HTTP/1.1 100 Continue\r\n\r\n",
        b"Content-Length: ",
        b"-1",
        b"99999999999",
        b"\r\n\r\n",
    ),
    *(
        b"Transfer-Encoding: chunked\r\n",
        b"Connection: close\r\n",
        b"ffffffff\r\n",
        b"0\r\n\r\n",
        b"\r\n",
        b"401",
        b"500",
    ),
    *(b"\x60\0\0\0", b"\x60\x41", b"\x40\x41", b"\xdd\xff\xff", b"\xee\xff\xff\xff", b"\xf0", b"\x70\0"),
]
MOST = 4500  # bytes: a little more than server.frame allows


def mutated(seeds, draw):
    """One of `seeds` (bytes each), changed in one to five places; now and then it is left as it is."""
    data = bytearray(draw.choice(seeds))
    for _ in range(draw.choice((0, 1, 1, 1, 2, 2, 3, 5))):
        at = draw.randrange(len(data) + 1)
        end = min(len(data), at + draw.choice((1, 1, 2, 4, 16, 64)))
        kind = draw.randrange(10)
        if kind == 0 and at < len(data):
            data[at] ^= 1 << draw.randrange(8)
        elif kind == 1 and at < len(data):
            data[at] = draw.choice((0, 1, 2, 4, 0x20, 0x30, 0x7F, 0x80, 0xFF, draw.randrange(256)))
        elif kind == 2:
            del data[at:end]
        elif kind == 3:
            data[at:at] = draw.randbytes(draw.choice((1, 2, 4, 16)))
        elif kind == 4:
            data[at:at] = data[at:end]
        elif kind == 5:
            del data[at:]
        elif kind == 6:
            other = draw.choice(seeds)
            data[at:] = other[draw.randrange(len(other) + 1) :]
        elif kind == 7:
            data[at:end] = draw.choice(WORDS)
        elif kind == 8:
            data[at:at] = draw.choice(WORDS)
        elif at < end:
            data[at:end] = data[at:end] * draw.choice((2, 3, 20, 300))
    return bytes(data[:MOST])


def cases(seeds, count, key):
    """`count` mutated inputs."""
    draw = random.Random(key)
    for _ in range(count):
        yield mutated(seeds, draw)
