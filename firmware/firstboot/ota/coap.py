# What an update asks of ThingsBoard over CoAP. MIT licence, (c) 2026 the firstboot authors.
#
# coap_chunks.py has the download.

import json
from micropython import const

_CONTENT = const(0x45)


def attributes(link, keys):
    """The shared attributes of these keys (text, commas between), those that there are: a dict. OSError."""
    code, body = link.get((b"api", b"v1", link.user, b"attributes"), ("sharedKeys=" + keys,))
    try:
        return json.loads(body).get("shared") or {} if code == _CONTENT else {}
    except (ValueError, AttributeError):
        return {}
