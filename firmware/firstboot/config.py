# The configuration: defaults, load, validate. MIT licence, (c) 2026 the firstboot authors.
#
# config.json is an object of objects; what comes out is one flat dict with dotted names ("wifi.ssid"). Imported
# at boot and forgotten afterwards.

import gc
import json

from . import errand

# A line each: name, kind, least, most, default. Kinds: s text (length in bytes), c text (length in characters), i whole
# number, n number, bool true or false, several words: one of them. The default is JSON; null: the field may be absent;
# !: it must be there. One text, read line by line, and no tuples: those would all be on the heap at once.
_FIELDS = """\
wifi.ssid s 1 32 null
wifi.password s 0 64 ""
wifi.timeout n 1 600 20
server.host s 1 253 !
server.port i 1 65535 null
server.timeout n 0.1 600 10
server.keepalive i 0 65535 60
server.frame i 128 65536 4096
tls.enabled bool 0 0 false
tls.ca s 1 128 "ca.der"
tls.verify bool 0 0 true
ntp.host s 1 253 "pool.ntp.org"
ntp.port i 1 65535 123
transport mqtt|http|coap 0 0 "mqtt"
coap.confirmable bool 0 0 true
provision.key s 1 255 null
provision.secret s 1 255 null
provision.name c 1 255 "{board}-{mac}"
provision.fleet_secret s 16 255 null
credentials token|server|basic|derived|x509|chain 0 0 "token"
x509.cert s 1 64 "cert.der"
x509.key s 1 64 "key.der"
period n 0 86400 60
outbox.bytes i 0 1048576 65536
outbox.writes_per_hour i 1 3600 60
retry.first n 0.01 3600 2
retry.most n 0.01 86400 300
retry.refused n 0.01 86400 900
revoked provision|wait 0 0 "provision"
watchdog n 0 300 0
ota.check n 0 86400 0
"""


def load(path):
    """The configuration in the file `path` as a flat dict. ValueError as check()."""
    try:
        return _fields_of(_parsed(path))
    except MemoryError:
        raise ValueError(path, "is more than the memory holds")


def _parsed(path):
    try:
        with open(path, "rb") as f:
            return errand("json_strict", "loads", f.read())
    except OSError:
        raise ValueError(path, "is missing: write one (see config.example.json)")
    except ValueError:
        raise ValueError(path, "is not JSON")


def check(doc):
    """The configuration in the parsed document `doc`, which is used up, with defaults filled in.

    ValueError: args[0] names the first field that is wrong, args[1] says what is wrong with it.
    """
    config = _fields_of(doc)
    errand("rules", "check", config)
    return config


def _fields_of(doc):
    if not isinstance(doc, dict):
        raise ValueError("config", "must be an object")
    config = {}
    for name, kind, least, most, default in fields():
        value = _taken(doc, name)
        if value is None:
            if default is ...:
                raise ValueError(name, "is missing: every board needs it")
            value = default
        else:
            _field(name, value, kind, least, most)
        config[name] = value
        if len(config) % 4 == 0:
            gc.collect()  # else what stays of each field lies a kilobyte from the next: 1,100 bytes of a boot's heap
    for name in doc:
        # str(): MicroPython's JSON lets names be numbers.
        for member in doc[name] if isinstance(doc[name], dict) else ("",):
            raise ValueError((str(name) + "." + str(member)).rstrip("."), "is not a field of firstboot's")
    return config


def _taken(doc, name):
    # The field out of the document, where it may be in its section or have its whole name.
    section, _, member = name.partition(".")
    value = None
    for place, key in ((doc, name), (doc.get(section), member)):
        if isinstance(place, dict) and not isinstance(place.get(key, place), dict):
            value = place.pop(key)
    return value


def fields():
    """Name, kind, least, most and default of each field; default ...: it must be there."""
    at = 0
    while at < len(_FIELDS):
        end = _FIELDS.find("\n", at)
        name, kind, least, most, default = _FIELDS[at:end].split(" ")
        yield name, kind, json.loads(least), json.loads(most), ... if default == "!" else json.loads(default)
        at = end + 1


def _field(name, value, kind, least, most):
    if "|" in kind:
        wrong = value not in kind.split("|") and "must be one of: " + kind.replace("|", ", ")
    elif kind == "bool":
        wrong = not isinstance(value, bool) and "must be true or false"
    elif kind == "s" or kind == "c":
        wrong = not _is_text(value) and "must be text"
        if not wrong:
            size = len(value if kind == "c" else value.encode())
            wrong = "must be %d to %d characters long" if kind == "c" else "must be %d to %d bytes long"
            wrong = not least <= size <= most and wrong % (least, most)
    else:
        # A bool is an int to Python, and never one that somebody meant.
        wrong = (
            (isinstance(value, bool) or not isinstance(value, (int, float) if kind == "n" else int))
            and ("must be a number" if kind == "n" else "must be a whole number")
            or not least <= value <= most
            and "must be %s to %s" % (least, most)
        )
    if wrong:
        raise ValueError(name, wrong)


def _is_text(value):
    # Half a surrogate pair, which JSON can spell, is no character. Looked for in bytes: each character of a str that
    # is looked at becomes a name, which MicroPython never forgets.
    try:
        data = value.encode()
    except (AttributeError, ValueError):  # ValueError: CPython does not encode it
        return False
    return not any([data[i] == 0xED and data[i + 1] >= 0xA0 for i in range(len(data))])
