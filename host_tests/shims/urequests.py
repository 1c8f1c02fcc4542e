"""HTTP requests with the face of micropython-lib's `requests`, on http.client. HTTPS is not verified, as there."""

import http.client
import json as real_json
import ssl
from urllib.parse import urlsplit


class Response:
    def __init__(self, status_code, reason, headers, content):
        self.status_code = status_code
        self.reason = reason
        self.headers = headers
        self.content = content
        self.encoding = "utf-8"

    @property
    def text(self):
        return str(self.content, self.encoding)

    def json(self):
        return real_json.loads(self.content)

    def close(self):
        pass


def request(method, url, data=None, json=None, headers=None, timeout=None):
    """ValueError where the answer is not HTTP; OSError where there is none."""
    parts = urlsplit(url)
    if parts.scheme == "https":
        context = ssl._create_unverified_context()
        connection = http.client.HTTPSConnection(parts.hostname, parts.port, timeout=timeout, context=context)
    elif parts.scheme == "http":
        connection = http.client.HTTPConnection(parts.hostname, parts.port, timeout=timeout)
    else:
        raise ValueError("Unsupported protocol: " + parts.scheme)
    headers = dict(headers or {})
    if json is not None:
        data = real_json.dumps(json)
        headers.setdefault("Content-Type", "application/json")
    if isinstance(data, str):
        data = data.encode()
    try:
        connection.request(method, (parts.path or "/") + ("?" + parts.query if parts.query else ""), data, headers)
        answer = connection.getresponse()
        return Response(answer.status, answer.reason.encode(), dict(answer.getheaders()), answer.read())
    except http.client.HTTPException as e:
        raise ValueError("HTTP error: %r" % e) from None
    finally:
        connection.close()


def head(url, **kw):
    return request("HEAD", url, **kw)


def get(url, **kw):
    return request("GET", url, **kw)


def post(url, **kw):
    return request("POST", url, **kw)


def put(url, **kw):
    return request("PUT", url, **kw)


def patch(url, **kw):
    return request("PATCH", url, **kw)


def delete(url, **kw):
    return request("DELETE", url, **kw)
