# What a board reads, as functions of the bytes that a hostile peer sends. Runs on CPython and on the VM.
#
# Each target is called with bytes and returns; what it lets out is a find. The firmware's own drivers run (the
# handshake, the telemetry loop), so that the declared exceptions end where they do on a board; the socket is a
# stand-in that says the bytes and then closes, and the first pause between two tries ends the case.

import gc
import json

import firstboot
from firstboot import errand

KEY = "profile-key"
SECRET = "profile-secret"
OWN = "0123456789abcdef0123456789abcdef"
# Bytes of heap for a case, four times what the longest takes: socket and link still hold the one before, and it must
# find a place among holes.
ROOM = 18432
_PIECE = 256


class Stop(BaseException):
    """The case is over: the driver wants to wait before its next try."""


class Escaped(Exception):
    """A secret is in the log, or something that must be is not."""


def quiet(*parts):
    """Stands where the log has print()."""
    for part in parts:
        if isinstance(part, str) and (SECRET in part or OWN in part):
            raise Escaped("a secret in the log")


class Stream:
    """A TCP socket that says `data` and closes: all at once, or by the byte where `data` has an even length."""

    def __init__(self):
        self.data = b""
        self.at = 0

    def readinto(self, buffer, size=None):
        size = min(len(buffer) if size is None else size, len(self.data) - self.at)
        if not len(self.data) & 1:
            size = min(size, 1)
        buffer[:size] = self.data[self.at : self.at + size]
        self.at += size
        return size

    def read(self, size):
        data = self.data[self.at : self.at + size]
        self.at += len(data)
        return data

    def write(self, data, start=0, size=None):
        return len(data) if size is None else size

    def close(self):
        pass


class Poll:
    """A poll() for which the socket is always ready."""

    def __init__(self, sock):
        self.ready = [(sock, 1)]

    def register(self, sock, flags=0):
        pass

    unregister = modify = register

    def ipoll(self, ms=0, flags=0):
        return iter(self.ready)


class Datagrams:
    """A UDP socket: each datagram is [flags, size, bytes]; flag 1 puts the message id in that was last sent, flag 2
    the token, as an answer must have them."""

    def __init__(self):
        self.data = b""
        self.at = 0
        self.sent = b""

    def send(self, data):
        if data[0] >> 4 & 3 < 2:  # not our own ACK
            self.sent = bytes(data[:8])
        return len(data)

    def recv(self, size):
        flags, size = self.data[self.at], self.data[self.at + 1]
        data = bytearray(self.data[self.at + 2 : self.at + 2 + size])
        self.at += 2 + size
        if flags & 1 and len(data) >= 4:
            data[2:4] = self.sent[2:4]
        if flags & 2 and len(data) >= 8:
            data[0] = data[0] & 0xF0 | 4
            data[4:8] = self.sent[4:8]
        return bytes(data)

    def close(self):
        pass


class DatagramPoll(Poll):
    """Its silence is for ever, so it ends the case."""

    def __init__(self, sock):
        Poll.__init__(self, sock)
        self.sock = sock

    def ipoll(self, ms=0, flags=0):
        if self.sock.at + 2 > len(self.sock.data):
            raise Stop
        return iter(self.ready)


class Slot:
    """A slot of the store in memory."""

    data = b""

    def get_blob(self, key, buffer):
        if len(self.data) > len(buffer):
            raise OSError(-0x110C, "ESP_ERR_NVS_INVALID_LENGTH")
        buffer[: len(self.data)] = self.data
        return len(self.data)

    def set_blob(self, key, data):
        self.data = data

    def commit(self):
        pass


class App:
    """The user's module."""

    def read(self):
        return {"t": 1}

    def on_rpc(self, method, params):
        return {"method": method, "params": params}

    def on_attributes(self, values):
        self.values = values


def pause(*_):
    """Stands for every pause between two tries."""
    raise Stop


dials = [None]  # the socket that a dial gets


def dialled(module, function, *args):
    """Stands where link modules have errand(): a connection is there at once."""
    if module == "link.dial" and function == "tcp":
        args[0].sock = dials[0]
        return None
    return errand(module, function, *args)


def pair(kind, **more):
    """(link, socket, config) of a transport, with the socket in place of a connection."""
    from firstboot.config import check

    firstboot.pause = pause

    config = check(
        {
            "server": {"host": "127.0.0.1", "timeout": 2},
            "provision": {"key": KEY, "secret": SECRET},
            "transport": kind,
            "period": 0,
            "outbox": {"bytes": 0},
        }
    )
    firstboot.forget("firstboot.config")
    module = __import__("firstboot.link." + kind, None, None, ("Link",))
    module.errand = firstboot.errand = dialled
    link = module.Link(config)
    if kind == "coap":
        sock = Datagrams()
        link.poll = DatagramPoll(sock)
        link._connect = lambda: setattr(link, "sock", sock)
        return link, sock, config
    sock = Stream()
    link.poll = Poll(sock)
    dials[0] = sock
    return link, sock, config


class Known:
    """The store of a board that is provisioned."""

    credentials = {"credentialsType": "ACCESS_TOKEN", "token": OWN}


def asks(kind):
    """The handshake of a first boot over this transport, up to the first pause or to the end."""
    link, sock, _ = pair(kind)
    own = {"credentialsType": "ACCESS_TOKEN", "token": OWN}

    def target(data):
        from firstboot.provision import Provisioner
        from firstboot.store import Store

        store = Store([Slot(), Slot()])
        sock.data, sock.at = data, 0
        try:
            Provisioner(link, store, "board-1", KEY, SECRET, lambda: own, pause).run()
        except Stop:
            pass
        link.close()
        errand("secrets", "hide", [OWN], store.hidden)  # another board knows nothing of them

    return target


def make_loop(link, config):
    """The telemetry loop as a boot makes it."""
    names = "transport outbox.bytes outbox.writes_per_hour ntp.host ntp.port revoked period ota.check"
    values = [config[name] for name in names.split()]
    parts = errand("ready", "ready", "hostile_app", errand("crash", "begin"), *values)
    return errand("loop", "telemetry", link, Known.credentials, (None, None, 1), [1, 1, 1], *parts)


def loops(kind):
    """The telemetry loop over this transport, up to the first pause."""
    from firstboot.link import Denied

    link, sock, config = pair(kind)

    def target(data):
        sock.data, sock.at = data, 0
        loop = make_loop(link, config)
        try:
            loop.run()
        except (Stop, Denied):
            pass
        errand("mend", "end", loop)
        link.close()

    return target


def handlers():
    """RPC and attribute payloads: the first byte picks the topic, the rest is the payload."""
    from firstboot.inbox import Inbox

    class link:
        @staticmethod
        def publish(topic, payload):
            json.loads(payload)

    inbox = Inbox(link, App())
    topics = (
        b"v1/devices/me/rpc/request/7",
        b"v1/devices/me/attributes",
        b"v1/devices/me/attributes/response/1",
        b"v1/devices/me/rpc/request/",
        b"nonsense",
    )

    def target(data):
        if data:
            inbox(topics[data[0] % len(topics)], data[1:])

    return target


def answers():
    """A provisioning answer."""
    from firstboot.codec import answer

    def target(data):
        try:
            status, granted = answer(data)
        except ValueError as e:
            str(e)
            return
        if (status == "SUCCESS") != (granted is not None):
            raise Escaped("granted %r with %s" % (granted, status))
        if granted:
            for member in granted:
                if granted[member] is not None:
                    granted[member].encode()

    return target


def configs():
    """A config.json."""
    from firstboot import config

    class File:
        def __init__(self, data):
            self.data = data

        def __enter__(self):
            return self

        def __exit__(self, *_):
            pass

        def read(self):
            return self.data

    def target(data):
        config.open = lambda *_: File(data)
        try:
            checked = config.load("config.json")
        except ValueError as e:
            "%s %s" % e.args
            return
        if not checked["server.host"]:
            raise Escaped("a config without a host")

    return target


def identities():
    """Both slots of the identity: the first byte tells where the second one starts."""
    from firstboot.store import Store

    def target(data):
        slots = [Slot(), Slot()]
        cut = data[0] * 2 if data else 0
        slots[0].data, slots[1].data = data[1:cut], data[cut:]
        store = Store(slots)
        store.hide()
        store.save(0x10, store.credentials)

    return target


def clocks():
    """An SNTP answer."""
    from firstboot.clock import _read

    def target(data):
        now = _read(data, b"markmark")
        if now is not None and not 0 < now < 1 << 33:
            raise Escaped("the time is %r" % now)

    return target


class Far:
    """A link whose server takes everything that is JSON; `answer` is what it says of its limits."""

    timeout = 0
    answer = b""
    topic = None

    def send(self, payload):
        json.loads(payload)

    report = send

    def publish(self, topic, payload):
        pass

    def listen(self, ms, handler):
        if handler:
            handler(b"v1/devices/me/rpc/response/1", self.answer)


def limits():
    """What the server says of its limits."""
    from firstboot.limits import ask

    link = Far()
    link.timeout = 1000

    def target(data):
        link.answer = data
        size, points, message, point = ask(link, None)
        if size < 1 or points < 1 or not 0 <= message <= 3600000 or not 0 <= point <= 3600000:
            raise Escaped("limits %r" % ((size, points, message, point),))

    return target


class Drains:
    """Two segments of the outbox: the first byte tells where the second one starts. They are drained."""

    def __init__(self):
        _, _, self.config = pair("mqtt")
        self.far = Far()

    def prepare(self, data):
        """Write the segments: a board has their bytes on flash only."""
        cut = data[0] * 4 if data else 0
        view = memoryview(data)
        for name, part in (("outbox.3", view[1:cut]), ("outbox.4", view[cut:])):
            with open(name, "wb") as f:
                f.write(part)

    def __call__(self, data):
        import os

        from firstboot.drain import drain
        from firstboot.outbox import Outbox

        if data is not None:
            self.prepare(data)
        loop = make_loop(self.far, self.config)
        loop.inbox = None
        loop.left = lambda: 1000  # nothing is sampled meanwhile
        loop.outbox = Outbox(65536, 0)
        loop.outbox.limits = (400, 10, 0, 0)
        loop.outbox.has_asked = True
        drain(loop, "", 0)
        if "outbox.3" in os.listdir() or "outbox.4" in os.listdir():
            raise Escaped("a segment is left")


def archives():
    """A software package that was downloaded, onto flash."""
    import os

    def target(data):
        with open("update.part", "wb") as f:
            f.write(data)
        before = sorted(os.listdir() + ["update.1"])
        try:
            errand("ota.tar", "install", 1)
        except (ValueError, OSError):  # as install.py has them
            pass
        if sorted(os.listdir()) != before:
            raise Escaped("a file outside of the package's folder")
        errand("ota.files", "remove", "update.1")

    return target


def assignments():
    """What the shared attributes say of a package."""

    def target(data):
        try:
            shared = json.loads(data)
        except (ValueError, RuntimeError, MemoryError):
            return
        package = errand("ota.look", "look", shared)
        if package:
            try:
                errand("ota.look", "check", package)
            except ValueError:
                pass

    return target


def states():
    """update.json at a boot, and what the server is told of it."""
    import sys

    config = {"ota.check": 1, "transport": "mqtt"}

    class loop:
        class link:
            @staticmethod
            def send(payload):
                json.loads(payload)

    def target(data):
        with open("update.json", "wb") as f:
            f.write(data)
        count = len(sys.path)
        try:
            loop.ota = errand("ota.begin", "begin", config)
            errand("ota.news", "tell_server", loop)
        finally:
            del sys.path[: len(sys.path) - count]

    return target


def chunks():
    """The download of a package over MQTT, up to what ends it."""
    link, sock, _ = pair("mqtt")

    def target(data):
        sock.data, sock.at = data, 0
        link.sock = sock
        link.inbox = ()
        try:
            source = errand("ota.mqtt_chunks", "Source", link, ("sw",), bytearray(512))
            for n in range(9):
                if len(source.get(n)) > 512:
                    raise Escaped("more than the buffer")
        except (ValueError, OSError):
            pass
        link.close()

    return target


TARGETS = {
    "answer": answers,
    "config": configs,
    "identity": identities,
    "sntp": clocks,
    "payload": handlers,
    "limits": limits,
    "outbox": Drains,
    "archive": archives,
    "assigned": assignments,
    "updates": states,
    "chunks": chunks,
    "mqtt ask": lambda: asks("mqtt"),
    "mqtt loop": lambda: loops("mqtt"),
    "http ask": lambda: asks("http"),
    "http loop": lambda: loops("http"),
    "coap ask": lambda: asks("coap"),
    "coap loop": lambda: loops("coap"),
}


def silence():
    """Nothing of the log is printed from here on; secrets in it are found."""
    firstboot.print = quiet
    errand("secrets", "hide", [KEY, SECRET, OWN])


def read(f, size):
    """`size` bytes of a file; fewer at its end."""
    data = f.read(size)
    while len(data) < size:
        more = f.read(size - len(data))
        if not more:
            break
        data += more
    return data


def run_file(path, name, told):
    """Run the cases in the file `path`, each a length (two bytes) and its bytes, on the target `name`.

    The first one must be well-formed: it runs again before the heap is measured, so that what a case leaves behind
    until the next one is not taken for growth. Returns (cases, finds, bytes that the heap in use has grown by).
    Each find is told: told(number, exception).
    """
    silence()
    target = TARGETS[name]()
    count = finds = 0
    before = None
    first = None
    with open(path, "rb") as f:
        while True:
            head = f.read(2)
            if len(head) < 2:
                break
            size = head[0] << 8 | head[1]
            gc.collect()
            data = read(f, size)
            # Whatever the case's size, and in pieces that fit into holes: the firmware has the same heap each time.
            _rest = [bytearray(_PIECE) for _ in range((ROOM - size) // (_PIECE + 8))]
            first = first or data
            count += 1
            if hasattr(target, "prepare"):
                target.prepare(data)
                data = None
                gc.collect()
            try:
                target(data)
            except Exception as e:  # noqa: BLE001 - whatever comes out is what is looked for
                finds += 1
                told(count, e)
            data = _rest = None
            if count == 30:
                before = held(target, first)
    return count, finds, held(target, first) - (before or 0)


def held(target, data):
    """Bytes of heap in use after this case."""
    target(data)
    gc.collect()
    return gc.mem_alloc()
