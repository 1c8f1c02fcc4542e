"""Stand-ins for flash, link and server that the tests script."""

import json

from firstboot.link import Denied, LinkError

NAME = "board-1"
OWN = {"credentialsType": "ACCESS_TOKEN", "token": "0123456789abcdef0123456789abcdef"}
BASE = {
    "server": {"host": "127.0.0.1", "timeout": 0.5},
    "provision": {"key": "profile-key", "secret": "profile-secret", "name": NAME},
    "retry": {"first": 0.01, "most": 0.02, "refused": 0.02},
}


class Stop(BaseException):
    """Leaves a loop of the firmware that never ends; no `except Exception` catches it."""


def config(**changes):
    """The firmware's flat config: BASE with fields changed, dots written as two underscores."""
    from firstboot.config import check

    doc = json.loads(json.dumps(BASE))
    for field, value in changes.items():
        section, _, member = field.partition("__")
        if member:
            doc.setdefault(section, {})[member] = value
        else:
            doc[section] = value
    return check(doc)


def success(credentials=OWN):
    """The server's answer that grants a token."""
    doc = {"status": "SUCCESS", "credentialsType": "ACCESS_TOKEN", "credentialsValue": credentials["token"]}
    return json.dumps(doc).encode()


def refusal(status):
    """The server's answer NOT_FOUND or FAILURE."""
    return json.dumps({"status": status, "errorMsg": "no"}).encode()


class MemorySlot:
    """A slot of the store in memory, with an esp32.NVS's face; `full` makes writes fail, `tick` is called before and
    after each."""

    def __init__(self, data=b"", tick=lambda: None):
        self.data = data
        self.tick = tick
        self.full = False

    def get_blob(self, key, buffer):
        if len(self.data) > len(buffer):
            raise OSError(-0x110C, "ESP_ERR_NVS_INVALID_LENGTH")
        buffer[: len(self.data)] = self.data
        return len(self.data)

    def set_blob(self, key, data):
        self.tick()
        if self.full:
            raise OSError(28, "ENOSPC")
        self.data = data
        self.tick()

    def commit(self):
        pass


class ScriptedLink:
    """A link whose verbs take their results from a list: bytes to return, an exception to raise, None for nothing.

    Verbs go into `steps` by name; the end of the script is Stop.
    """

    def __init__(self, *script, steps=None):
        self.script = list(script)
        self.steps = [] if steps is None else steps
        self.requests = []
        self.opened = []
        self.sent = []
        self.reports = []
        self.closes = 0

    def ask(self, request):
        self.requests.append(request)
        return self._next("ask")

    def open(self, credentials):
        self.opened.append(credentials)
        return self._next("open")

    def send(self, payload):
        result = self._next("send")
        self.sent.append(bytes(payload) if not isinstance(payload, str) else payload.encode())
        return result

    def report(self, payload):
        self.reports.append(json.loads(payload))

    def listen(self, ms, handler=None):
        return self._next("listen")

    def close(self):
        self.closes += 1

    def _next(self, verb):
        self.steps.append(verb)
        if not self.script:
            raise Stop
        result = self.script.pop(0)
        if isinstance(result, BaseException):
            raise result
        return result


class Server:
    """ThingsBoard under ALLOW_CREATE_NEW_DEVICES: a name is granted once, and never again."""

    def __init__(self):
        self.devices = {}

    def provision(self, request):
        doc = json.loads(request)
        if doc["deviceName"] in self.devices:
            return refusal("FAILURE")
        token = doc.get("token", "made-by-the-server")
        self.devices[doc["deviceName"]] = token
        return success({"token": token})


class ServerLink:
    """A link to a Server; `tick` is called before and after everything that happens there."""

    def __init__(self, server, tick=lambda: None):
        self.server = server
        self.tick = tick

    def ask(self, request):
        self.tick()
        answer = self.server.provision(request)
        self.tick()
        return answer

    def open(self, credentials):
        self.tick()
        if credentials["token"] not in self.server.devices.values():
            raise Denied("CONNACK code 5")
        self.tick()

    def close(self):
        pass


__all__ = ["BASE", "NAME", "OWN", "Denied", "LinkError", "MemorySlot", "ScriptedLink", "Server", "ServerLink", "Stop"]
__all__ += ["config", "refusal", "success"]
