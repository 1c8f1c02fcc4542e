# What an update asks of ThingsBoard over HTTP. MIT licence, (c) 2026 the firstboot authors.
#
# http_chunks.py has the download.

import json
from micropython import const

from ..link import Denied

_OK = const(200)


def attributes(link, keys):
    """The shared attributes of these keys (text, commas between), those that there are: a dict. OSError."""
    status, body = get(link, b"attributes?sharedKeys=" + keys.encode())
    try:
        return json.loads(body).get("shared") or {} if status == _OK else {}
    except (ValueError, AttributeError):
        return {}


def get(link, path):
    """GET `path` of this device: (status, body). Denied: the server does not know its token."""
    status, body = link.get(link.user + path)
    if status == 401:
        link.close()
        raise Denied("HTTP 401")
    return status, body
