"""What servers say and flash holds, made by hypothesis from its grammar: most of it well-formed, some of it not."""

import json
import tarfile
from binascii import crc32

from firstboot import config
from hypothesis import strategies as st

from . import seeds
from .targets import OWN

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)
JUNK = st.binary(max_size=40)


def _json(strategy):
    """As bytes; now and then cut short or followed by something."""
    whole = strategy.map(lambda value: json.dumps(value).encode())
    return whole | whole | st.tuples(whole, st.integers(0, 60), JUNK).map(lambda t: t[0][: t[1]] + t[2])


def _document(**members):
    """A document with some of these members, each as it should be or any JSON."""
    return st.fixed_dictionaries({}, optional={name: value | JSON for name, value in members.items()})


WORDS = st.sampled_from(["SUCCESS", "FAILURE", "NOT_FOUND", "ACCESS_TOKEN", "MQTT_BASIC", "X509_CERTIFICATE", ""])
TOKEN = st.just(OWN) | st.text(max_size=40)
BASIC = _document(clientId=TOKEN, userName=TOKEN, password=TOKEN)
GRANTED = st.fixed_dictionaries(
    {
        "status": st.just("SUCCESS"),
        "credentialsType": st.just("ACCESS_TOKEN") | WORDS,
        "credentialsValue": TOKEN | BASIC | JSON,
    }
)
ANSWERS = (
    GRANTED
    | _document(
        status=WORDS,
        provisionDeviceStatus=WORDS,
        credentialsType=WORDS,
        credentialsValue=TOKEN | BASIC | BASIC.map(json.dumps),
        credentialsId=TOKEN,
        accessToken=TOKEN,
    )
    | JSON
)
SECTIONS = sorted({name.partition(".")[0] for name, *_ in config.fields()} | {"other"})
FIELDS = sorted({name.partition(".")[2] for name, *_ in config.fields()} - {""} | {"other"})
CONFIGS = st.dictionaries(st.sampled_from(SECTIONS), JSON | st.dictionaries(st.sampled_from(FIELDS), JSON)) | JSON
RPC = _document(method=st.text(max_size=12), params=JSON)
SHARED = _document(shared=JSON, client=JSON, deleted=st.lists(st.text(max_size=8), max_size=3))

# The identity. A right CRC says that the firmware wrote this: then the members of the credentials are text.


def _record(fields):
    seq, state, credentials, crc = fields
    body = json.dumps((seq, state, credentials)).encode()
    return b"%08x" % (crc32(body) ^ crc) + body


TEXTS = dict.fromkeys(("credentialsType", "token", "clientId", "username", "password", "key"), TOKEN)
OWN_CREDENTIALS = st.fixed_dictionaries({}, optional=TEXTS)
OWN_CREDENTIALS |= st.fixed_dictionaries({"next": OWN_CREDENTIALS}, optional=TEXTS)
STATES = st.sampled_from((0, 0x10, 0x20, 0x30, 0x40, 0x50)) | JSON
RECORD = (
    st.tuples(st.integers(-1, 1 << 40) | JSON, STATES, OWN_CREDENTIALS | st.text() | st.lists(JSON), st.just(0)).map(
        _record
    )
    | st.tuples(st.integers(), STATES, JSON, st.integers(1, 1 << 31)).map(_record)
    | JUNK
)
SLOTS = st.tuples(RECORD.filter(lambda data: len(data) < 500), RECORD).map(lambda both: seeds._slots(*both))

# The outbox. A right CRC and size say that the firmware wrote this: then it is a sample or a mark.


def _kept(fields):
    body, size, crc = fields
    return b"\x1e%04x%08x" % (len(body) + size & 0xFFFF, crc32(body) ^ crc) + body


STAMP = st.integers(0, 1 << 50).map(b"%d".__mod__) | st.integers(0, 1 << 40).map(b"+%d".__mod__)
VALUES = st.dictionaries(st.text(max_size=6), JSON, max_size=3).map(lambda value: json.dumps(value).encode())
SAMPLE = st.tuples(STAMP, VALUES).map(b",".join)
MARK = st.integers(-5, 1 << 40).map(b"-%d".__mod__)
WHOLE = st.tuples(SAMPLE | MARK, st.just(0), st.just(0)).map(_kept)
DAMAGED = st.tuples(SAMPLE | MARK | JUNK, st.sampled_from((0, 1, -1, 4000)), st.integers(1, 1 << 31)).map(_kept)
SEGMENT = st.lists(WHOLE | WHOLE | DAMAGED | JUNK, max_size=6).map(b"".join)
SEGMENTS = st.tuples(SEGMENT.filter(lambda data: len(data) < 1000), SEGMENT).map(lambda both: seeds._segments(*both))

# MQTT

TOPICS = st.sampled_from(
    [
        b"/provision/response",
        b"v1/devices/me/rpc/request/7",
        b"v1/devices/me/attributes",
        b"v1/devices/me/attributes/response/1",
        b"",
        b"\xff",
    ]
)
BODIES = _json(ANSWERS) | _json(RPC) | _json(SHARED) | JUNK


def _length(size):
    head = bytearray()
    while size > 127:
        head.append(size & 127 | 128)
        size >>= 7
    return bytes(head) + bytes((size,))


def _frame(fields):
    first, body, more = fields
    return bytes((first,)) + _length(max(0, len(body) + more)) + body


def _published(fields):
    topic, size, body, qos = fields
    return len(topic + size).to_bytes(2, "big") + topic + (b"\0\1" if qos else b"") + body


LIE = st.sampled_from((0, 0, 0, 0, 1, -1, 5000, 1 << 27))
PUBLISHED = st.tuples(
    st.sampled_from((0x30, 0x32, 0x34, 0x36, 0x3D)),
    st.tuples(TOPICS, st.sampled_from((b"", b"", b"x" * 9)), BODIES, st.booleans()).map(_published)
    | st.binary(max_size=4),
    LIE,
).map(_frame)
OTHER = st.tuples(st.integers(0, 255), st.binary(max_size=6), LIE).map(_frame)
CONNACK = st.sampled_from((b"\x20\2\0\0", b"\x20\2\0\0", b"\x20\2\1\5", b"\x20\3\0\0\0"))
PUBACK = st.integers(1, 6).map(lambda pid: b"\x40\2\0%c" % pid)
FRAMES = st.tuples(
    CONNACK | OTHER, st.lists(PUBACK | PUBACK | CONNACK | PUBLISHED | OTHER | JUNK, max_size=8).map(b"".join)
).map(b"".join)

# HTTP

STATUS = st.sampled_from((b"200 OK", b"200 OK", b"204 No Content", b"401 Unauthorized", b"500 x", b"302 Found")) | JUNK
HEADER = st.sampled_from(
    (
        b"Content-Type: application/json",
        b"Connection: close",
        b"Transfer-Encoding: chunked",
        b"Transfer-Encoding: gzip",
        b"Content-Length: 0",
        b"Content-Length: -1",
        b"Content-Length: 99999999999",
        b"content-length : 3",
        b" folded",
    )
)


def _response(fields):
    status, headers, body, size, is_chunked, version = fields
    body = b"".join(b"%x\r\n%s\r\n" % (len(part) + size, part) for part in (body, b"")) if is_chunked else body
    own = b"Transfer-Encoding: chunked" if is_chunked else b"Content-Length: %d" % (len(body) + size)
    return b"\r\n".join([b"HTTP/1.%d " % version + status, *headers, own, b"", body])


RESPONSE = st.tuples(
    STATUS,
    st.lists(HEADER | JUNK, max_size=3),
    _json(ANSWERS) | st.just(b"") | JUNK,
    st.sampled_from((0, 0, 0, 1, -1, 6000)),
    st.booleans(),
    st.sampled_from((1, 1, 0, 9)),
).map(_response)
RESPONSES = st.lists(RESPONSE | JUNK, max_size=5).map(b"".join)

# CoAP

OPTION = st.tuples(st.integers(0, 255), st.binary(max_size=20)).map(lambda t: bytes((t[0],)) + t[1])


def _message(fields):
    flags, kind, token, code, options, payload = fields
    data = bytes((0x40 | kind << 4 | token, code)) + b"\0\1" + b"tokntokn"[:token]
    return flags, (data + b"".join(options) + (b"\xff" + payload if payload is not None else b""))[:255]


MESSAGE = st.tuples(
    st.integers(0, 3),
    st.integers(0, 3),
    st.sampled_from((4, 4, 4, 0, 8, 15)),
    st.sampled_from((0, 0x41, 0x44, 0x45, 0x80, 0x81, 0xA0)) | st.integers(0, 255),
    st.lists(OPTION, max_size=2),
    st.none() | _json(ANSWERS) | JUNK,
).map(_message)
MESSAGES = st.lists(MESSAGE | st.tuples(st.integers(0, 3), JUNK), max_size=8).map(lambda ms: seeds._coap(*ms))

# Updates

NAME = st.sampled_from(
    ("app.py", "lib/a.py", "../main.py", "/etc/x", "a/../../b", "firstboot/x.py", "a" * 150)
) | st.text(max_size=20)
ENTRY = st.tuples(NAME, st.none() | JUNK, st.sampled_from((b"0", b"0", b"5", b"2", b"x", b"\0", b"9")))


def _archive(entries):
    found = b""
    for name, data, kind in entries:
        info = tarfile.TarInfo(name)
        info.size = len(data or b"")
        info.type = kind
        try:
            head = info.tobuf(tarfile.USTAR_FORMAT)
        except ValueError:  # a name that does not fit
            continue
        found += head + (data or b"") + bytes(-info.size % 512)
    return found


ARCHIVES = st.tuples(st.lists(ENTRY, max_size=3).map(_archive), JUNK).map(b"".join)
SIZE = st.integers(-5, 9000) | st.none() | st.text(max_size=3)
ALGORITHM = st.sampled_from(("SHA256", "MD5", "CRC32", "MURMUR3_32", "", "new"))
ASSIGNED = _document(
    **{
        f"{kind}_{member}": value
        for kind in ("fw", "sw")
        for member, value in {
            "title": st.text(max_size=9),
            "version": st.text(max_size=9),
            "size": SIZE,
            "checksum": st.text(max_size=9),
            "checksum_algorithm": ALGORITHM,
            "url": st.none() | st.text(max_size=5),
        }.items()
    }
)
MINE = _document(now=st.lists(st.text(max_size=5), max_size=3), bad=st.text(max_size=5), news=JSON)
TRIAL = st.tuples(
    st.sampled_from(("sw", "fw", "xx")),
    st.text(max_size=5),
    st.text(max_size=5),
    st.text(max_size=5),
    st.sampled_from((0, 1, 2, None, "ota_1", "factory")),
    st.sampled_from((None, "ota_0", 5)),
    st.integers(-1, 9) | st.none(),
    st.none() | st.text(max_size=5),
)
UPDATES = _document(slot=st.sampled_from((0, 1, 2, None, "x")), trial=TRIAL | JSON, part=JSON, fw=MINE | JSON, sw=MINE)

# The rest

LIMIT = st.lists(st.tuples(st.integers(), st.integers()).map("%d:%d".__mod__), max_size=3).map(",".join) | st.text()
LIMITS = _document(
    maxPayloadSize=st.integers(),
    maxInflightMessages=st.integers(),
    rateLimits=_document(messages=LIMIT, telemetryMessages=LIMIT, telemetryDataPoints=LIMIT),
)
SNTP = st.tuples(
    st.integers(0, 255),
    st.integers(0, 255),
    st.binary(min_size=22, max_size=22),
    st.just(b"markmark") | st.binary(min_size=8, max_size=8),
    st.binary(min_size=16, max_size=16),
    JUNK,
).map(lambda t: bytes(t[:2]) + b"".join(t[2:]))

SHAPES = {
    "answer": _json(ANSWERS),
    "config": _json(CONFIGS),
    "identity": SLOTS,
    "sntp": SNTP,
    "payload": st.tuples(st.integers(0, 4), _json(RPC) | _json(SHARED) | _json(JSON)).map(
        lambda t: bytes(t[:1]) + t[1]
    ),
    "limits": _json(LIMITS),
    "outbox": SEGMENTS,
    "archive": ARCHIVES,
    "assigned": _json(ASSIGNED),
    "updates": _json(UPDATES),
    "chunks": FRAMES,
    "mqtt ask": FRAMES,
    "mqtt loop": FRAMES,
    "http ask": RESPONSES,
    "http loop": RESPONSES,
    "coap ask": MESSAGES,
    "coap loop": MESSAGES,
}
