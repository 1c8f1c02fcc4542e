# What an update asks of ThingsBoard over MQTT. MIT licence, (c) 2026 the firstboot authors.
#
# mqtt_chunks.py has the download.

import json

_ASK = b"v1/devices/me/attributes/request/2"
_ANSWER = b"v1/devices/me/attributes/response/2"


def attributes(link, keys):
    """The shared attributes of these keys (text, commas between), those that there are: a dict. OSError."""
    link.publish(_ASK, json.dumps({"sharedKeys": keys}).encode())
    while True:
        for i in range(len(link.inbox)):
            topic, payload = link.inbox[i]
            if topic == _ANSWER:
                link.inbox = link.inbox[:i] + link.inbox[i + 1 :]  # others stay there, for listen()
                try:
                    return json.loads(payload).get("shared") or {}
                except (ValueError, AttributeError):
                    return {}
        link.next()
