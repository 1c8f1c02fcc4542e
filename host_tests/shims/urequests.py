"""HTTP requests with the face of micropython-lib's `requests`: HTTP/1.0, one read to the end, nothing verified."""

import json as real_json

from micro import socket


class Response:
    def __init__(self, status_code, raw):
        self.status_code = status_code
        self.raw = raw
        self.encoding = "utf-8"
        self._content = None

    @property
    def content(self):
        if self._content is None:
            self._content = self.raw.read()
            self.close()
        return self._content

    @property
    def text(self):
        return str(self.content, self.encoding)

    def json(self):
        return real_json.loads(self.content)

    def close(self):
        self.raw.close()


def request(method, url, data=None, json=None, headers=None, timeout=None):
    """ValueError where the answer is not HTTP; OSError where there is none."""
    scheme, _, host, path = url.split("/", 3)
    if scheme != "http:":
        raise ValueError("Unsupported protocol: " + scheme)
    host, _, port = host.partition(":")
    headers = {"Host": host, **(headers or {})}
    if json is not None:
        data = real_json.dumps(json)
        headers.setdefault("Content-Type", "application/json")
    if isinstance(data, str):
        data = data.encode()
    if data:
        headers["Content-Length"] = str(len(data))
    family, _, protocol, _, address = socket.getaddrinfo(host, int(port or 80), 0, socket.SOCK_STREAM)[0]
    sock = socket.socket(family, socket.SOCK_STREAM, protocol)
    if timeout is not None:
        sock.settimeout(timeout)
    try:
        sock.connect(address)
        sock.write("%s /%s HTTP/1.0\r\n" % (method, path))
        for name in headers:
            sock.write("%s: %s\r\n" % (name, headers[name]))
        sock.write(b"\r\n")
        sock.write(data or b"")
        status = sock.readline().split(None, 2)
        if len(status) < 2:
            raise ValueError("HTTP error: BadStatusLine")
        while sock.readline() not in (b"\r\n", b""):
            pass
        return Response(int(status[1]), sock)
    except OSError:
        sock.close()
        raise


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
