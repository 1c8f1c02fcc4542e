"""What servers, files and flash really hold: the inputs that are mutated, by target."""

import json
import tarfile
from binascii import crc32
from pathlib import Path

from host_tests.unit.packages import tar

VECTORS = Path(__file__).parents[2] / "data" / "provisioning-vectors.json"
OWN = "0123456789abcdef0123456789abcdef"


def _answers():
    found = []
    for vector in json.loads(VECTORS.read_text("utf-8"))["response_documents"]:
        if "json" in vector:
            found.append(json.dumps(vector["json"]).encode())
        elif "hex" in vector:
            found.append(bytes.fromhex(vector["hex"]))
        elif "raw" in vector:
            found.append(vector["raw"].encode())
    found.append(b'{1:{2:3},null:4,"status":"SUCCESS"}')  # names, to MicroPython
    return [data for data in found if len(data) < 2000]


def _granted(value=OWN, kind="ACCESS_TOKEN"):
    return json.dumps({"credentialsValue": value, "credentialsType": kind, "status": "SUCCESS"}).encode()


def _publish(topic, payload, qos=1):
    body = len(topic).to_bytes(2, "big") + topic + (b"\0\1" if qos else b"") + payload
    size, head = len(body), bytearray((0x30 | qos << 1,))
    while size > 127:
        head.append(size & 127 | 128)
        size >>= 7
    return bytes(head) + bytes((size,)) + body


def _http(body, status=b"200 OK", head=b""):
    return b"HTTP/1.1 %s\r\nContent-Type: application/json\r\nContent-Length: %d\r\n%s\r\n%s" % (
        status,
        len(body),
        head,
        body,
    )


def _chunked(body):
    return b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n0\r\n\r\n" % (len(body), body)


def _record(seq, state, credentials):
    body = json.dumps((seq, state, credentials)).encode()
    return b"%08x" % crc32(body) + body


def _slots(first, second):
    cut = (len(first) + 2) // 2 * 2
    return bytes((cut // 2,)) + first.ljust(cut - 1) + second


def _kept(*bodies):
    return b"".join(b"\x1e%04x%08x" % (len(body), crc32(body)) + body for body in bodies)


def _segments(first, second):
    cut = (len(first) + 4) // 4
    return bytes((cut,)) + first.ljust(cut * 4 - 1, b"\x1e") + second


def _coap(*messages):
    return b"".join(bytes((flags, len(data))) + data for flags, data in messages)


def _assigned(kind, algorithm):
    members = {"title": "app", "version": "1.2", "size": 2048, "checksum": "ab" * 16, "checksum_algorithm": algorithm}
    return {f"{kind}_{name}": value for name, value in members.items()}


def seeds():
    """Target -> inputs that the firmware understands."""
    answers = _answers()
    refused = json.dumps({"errorMsg": "no", "status": "FAILURE"}).encode()
    basic = _granted({"clientId": "c", "userName": "u", "password": "p"}, "MQTT_BASIC")
    connack, puback = b"\x20\2\0\0", b"\x40\2\0\1"
    response = b"/provision/response"
    rpc = b'{"method":"setLed","params":{"on":true}}'
    shared = b'{"interval":60,"name":"x","deleted":["old"]}'
    token = {"credentialsType": "ACCESS_TOKEN", "token": OWN}
    example = json.loads((Path(__file__).parents[3] / "firmware" / "config.example.json").read_text())
    full = {
        **example,
        "server": {"host": "h", "port": 1883, "timeout": 1.5, "keepalive": 0, "frame": 512},
        "tls": {"enabled": True, "ca": "ca.der", "verify": True},
        "transport": "mqtt",
        "credentials": "basic",
        "period": 60,
        "retry": {"first": 1, "most": 300, "refused": 900},
        "revoked": "wait",
        "watchdog": 8,
    }
    ack, con, non = b"\x64\x44\0\0tokn", b"\x44\x44\0\0tokn", b"\x54\x44\0\0tokn"
    return {
        "answer": answers,
        "config": [
            json.dumps(example).encode(),
            json.dumps(full).encode(),
            json.dumps(full, indent=1).encode(),
            b'{"server":{"host":"h",1:2},3:{"a":4,null:5},"provision":{"key":"k","secret":"s"}}',  # MicroPython's JSON
        ],
        "identity": [
            _slots(_record(1, 0x10, token), _record(2, 0x40, token)),
            _slots(b"", _record(9, 0x20, None)),
            _slots(_record(3, 0x40, [1]), _record(2, 0x40, "text")),
            _slots(_record(True, 0x10, {}), _record(1 << 70, 0x10, token)),
        ],
        "sntp": [b"\x24\1" + bytes(22) + b"markmark" + bytes(8) + b"\xe9\x50\x18\0" + bytes(4)],
        "payload": [
            bytes((i,)) + body for i in range(5) for body in (rpc, shared, b'{"shared":' + shared + b"}", b"[]")
        ],
        "limits": [
            b'{"maxPayloadSize":65536,"maxInflightMessages":100,"rateLimits":{"messages":"200:1,6000:60","telemetryMessages":'
            b'null,"telemetryDataPoints":"10:1,300:60"}}',
            b'{"maxPayloadSize":512,"rateLimits":{}}',
        ],
        "outbox": [
            _segments(
                _kept(b'1700000000000,{"a":1}', b'+1234,{"b":"x"}', b"-7", b'1700000000001,{"c":[1,2]}'),
                _kept(*(b'+%d,{"n":%d}' % (i, i) for i in range(20))),
            ),
            _segments(_kept(b'+5,{"a":1}'), _kept(b"-1", b"-99999", b'x,{"y":2}')),
        ],
        "archive": [
            tar({"app.py": b"x = 1\n", "lib": None, "lib/a/more.py": b"y" * 700}),
            tar({"./a" * 60: b"", "app.mpy": b"M" * 512}, tarfile.PAX_FORMAT),
        ],
        "assigned": [
            json.dumps({**_assigned("fw", "CRC32"), **_assigned("sw", "SHA256")}).encode(),
            json.dumps({**_assigned("sw", "MD5"), "sw_url": "http://x/y"}).encode(),
        ],
        "updates": [
            json.dumps(
                {"slot": 1, "sw": {"now": ["app", "1"], "bad": "app 2 ab", "news": {"sw_state": "FAILED"}}}
            ).encode(),
            json.dumps({"trial": ["sw", "app", "2", "app 2 ab", 0, None, 1, None], "slot": 1, "part": "x"}).encode(),
            json.dumps({"trial": ["fw", "app", "2", "app 2 ab", "ota_1", "ota_0", 3, "why"], "fw": {}}).encode(),
        ],
        "chunks": [
            b"\x90\3\0\0\0"
            + b"".join(puback + _publish(b"v2/sw/response/1/chunk/%d" % n, bytes(512), 0) for n in range(3))
            + puback
            + _publish(b"v2/sw/response/1/chunk/3", b"", 0),
            b"\x90\3\0\0\0" + puback + _publish(b"v2/fw/error", b"NOT_FOUND"),
            b"\x90\3\0\0\0" + _publish(b"v1/devices/me/rpc/request/7", rpc) + puback + b"\xd0\0",
        ],
        "mqtt ask": [
            connack + puback + _publish(response, body) + connack
            for body in (*answers[:12], refused, basic, _granted())
        ],
        "mqtt loop": [
            connack + b"\x90\4\0\1\1\1" + puback + b"\x40\2\0\2" * 3 + b"\x40\2\0\3",
            connack
            + b"\x40\2\0\2"
            + _publish(b"v1/devices/me/rpc/request/7", rpc)
            + b"\x40\2\0\3\x40\2\0\4"
            + _publish(b"v1/devices/me/attributes", shared, 0)
            + b"\xd0\0\x40\2\0\5\x40\2\0\6",
            connack + _publish(b"v1/devices/me/attributes/response/1", b'{"shared":' + shared + b"}") + b"\x40\2\0\2",
            b"\x20\2\0\5",
        ],
        "http ask": [
            *(_http(body) + _http(b"") * 2 for body in (*answers[:12], refused, basic, _granted())),
            _chunked(_granted()) + _http(b""),
            _http(b'{"status":500,"message":"x","errorCode":2}', b"500 Internal Server Error"),
            _http(b"", b"302 Found", b"Location: http://elsewhere/\r\n"),
            b"HTTP/1.0 200 OK\r\n\r\n" + _granted(),
            b"HTTP/1.1 100 Continue\r\n\r\n" + _http(_granted()),
        ],
        "http loop": [
            _http(b"") * 6,
            _http(b"") * 2 + _http(b"", b"401 Unauthorized"),
            _http(b"", b"204 No Content", b"Connection: close\r\n") * 3,
            _http(b"boom", b"500 Internal Server Error"),
        ],
        "coap ask": [
            *(_coap((3, b"\x64\x41\0\0tokn\xff" + body), (3, ack)) for body in answers[:12] if len(body) < 240),
            _coap((1, b"\x60\0\0\0"), (2, b"\x44\x41\x12\x34tokn\xff" + _granted()), (3, ack)),
            _coap((3, b"\x64\x80\0\0tokn\xff" + refused), (3, ack), (3, b"\x64\x81\0\0tokn")),
        ],
        "coap loop": [
            _coap((3, ack), (3, ack), (3, ack), (2, con), (2, non)),
            _coap((3, b"\x64\x44\0\0tokn\xc1\x2a\xff{}"), (1, b"\x70\0\0\0")),
            _coap((3, ack), (3, b"\x64\x81\0\0tokn")),
        ],
    }
