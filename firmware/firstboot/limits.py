# What the server allows a device: payload size and rates. MIT licence, (c) 2026 the firstboot authors.
#
# An errand of drain.py, once an outage, when there is more to send than one message holds.

import json
import time
from micropython import const

from . import log

_REQUEST = b"v1/devices/me/rpc/request/1"
_ANSWER = b"v1/devices/me/rpc/response/1"
_WAIT = const(3000)  # ms; ThingsBoard before 3.8 has no answer
_MANY = const(65536)
_TOPIC = const(32)  # bytes of a packet that are not payload
_HOUR = const(3600000)
_NONE = (_MANY, _MANY, 0, 0)


def ask(link, inbox):
    """Returns (bytes of a payload, data points of one, ms between two, ms for each data point)."""
    if not hasattr(link, "publish"):
        return _NONE
    answers = []

    def hear(topic, payload):
        if topic == _ANSWER:
            answers.append(payload)
        elif inbox:
            inbox(topic, payload)

    link.publish(_REQUEST, b'{"method":"getSessionLimits","params":{}}')
    end = time.ticks_add(time.ticks_ms(), min(_WAIT, link.timeout))
    while not answers and time.ticks_diff(end, time.ticks_ms()) > 0:
        link.listen(20, hear)
    limits = _NONE
    if answers:
        try:
            limits = read(answers[0])
        except (ValueError, TypeError, KeyError, RuntimeError, MemoryError, AttributeError, OverflowError):
            log("server: its limits can't be read")
    return limits


def read(payload):
    """The same from the server's answer (contract 3)."""
    doc = json.loads(payload)
    rates = doc.get("rateLimits") or {}
    size = min(_MANY, max(1, int(doc["maxPayloadSize"]) - _TOPIC))
    most = _MANY
    message = point = 0
    # What has data points does not count as one of "messages" (contract 10).
    for name in ("telemetryMessages", "telemetryDataPoints"):
        # "10:1,300:60": ten a second, and three hundred a minute.
        for rule in (rates.get(name) or "").split(","):
            if not rule:
                continue
            count, seconds = map(int, rule.split(":"))
            if count < 1 or seconds < 1:
                continue
            # An eighth slower than allowed: the server's clock is another.
            ms = min(_HOUR, seconds * 1125 / count)
            if name == "telemetryDataPoints":
                point = max(point, ms)
                most = min(most, count)
            else:
                message = max(message, ms)
    return size, most, message, point
