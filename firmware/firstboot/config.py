# The configuration: defaults, load, validate. MIT licence, (c) 2026 the firstboot authors.
#
# config.json is an object of objects; what comes out is one flat dict with dotted names ("wifi.ssid"). Imported
# at boot and forgotten afterwards.

import json

# name, kind, least, most, default. Kinds: s text (length in bytes), c text (length in characters), i whole number,
# n number, b true or false, several words: one of them. Default None: the field may be
# absent; ...: it must be there.
_FIELDS = (
    ("wifi.ssid", "s", 1, 32, None),
    ("wifi.password", "s", 0, 64, ""),
    ("wifi.timeout", "n", 1, 600, 20),
    ("server.host", "s", 1, 253, ...),
    ("server.port", "i", 1, 65535, None),
    ("server.timeout", "n", 0.1, 600, 10),
    ("server.keepalive", "i", 0, 65535, 60),
    ("server.frame", "i", 128, 65536, 4096),
    ("tls.enabled", "b", 0, 0, False),
    ("tls.ca", "s", 1, 128, "ca.der"),
    ("tls.verify", "b", 0, 0, True),
    ("ntp.host", "s", 1, 253, "pool.ntp.org"),
    ("ntp.port", "i", 1, 65535, 123),
    ("transport", "mqtt http coap", 0, 0, "mqtt"),
    ("coap.confirmable", "b", 0, 0, True),
    ("provision.key", "s", 1, 255, None),
    ("provision.secret", "s", 1, 255, None),
    ("provision.name", "c", 1, 255, "{board}-{mac}"),
    ("provision.fleet_secret", "s", 16, 255, None),
    ("credentials", "token server basic derived x509 chain", 0, 0, "token"),
    ("x509.cert", "s", 1, 64, "cert.der"),
    ("x509.key", "s", 1, 64, "key.der"),
    ("period", "n", 0, 86400, 60),
    ("outbox.bytes", "i", 0, 1048576, 65536),
    ("outbox.writes_per_hour", "i", 1, 3600, 60),
    ("retry.first", "n", 0.01, 3600, 2),
    ("retry.most", "n", 0.01, 86400, 300),
    ("retry.refused", "n", 0.01, 86400, 900),
    ("revoked", "provision wait", 0, 0, "provision"),
    ("watchdog", "n", 0, 300, 0),
)
_PORTS = {"mqtt": (1883, 8883), "http": (80, 443), "coap": (5683, 5684)}


class ConfigError(ValueError):
    """A config that can't be used: args[0] names the field, args[1] says what is wrong with it."""


def load(path):
    """The configuration in the file `path` as a flat dict. ConfigError names the first field that is wrong."""
    try:
        with open(path, "rb") as f:
            return check(json.loads(f.read()))
    except OSError:
        raise ConfigError(path, "is missing: write one (see config.example.json)")
    except MemoryError:
        raise ConfigError(path, "is more than the memory holds")
    except ConfigError:
        raise
    except (ValueError, RuntimeError):
        raise ConfigError(path, "is not JSON")


def check(doc):
    """The configuration in the parsed document `doc`, with defaults filled in; ConfigError as load()."""
    if not isinstance(doc, dict):
        raise ConfigError("config", "must be an object")
    given = {}
    for name in doc:
        if isinstance(doc[name], dict):
            for member in doc[name]:
                # MicroPython's JSON lets names be numbers.
                given["%s.%s" % (name, member)] = doc[name][member]
        else:
            given[name] = doc[name]
    config = {}
    for name, kind, least, most, default in _FIELDS:
        value = given.pop(name, None)
        if value is None:
            if default is ...:
                raise ConfigError(name, "is missing: every board needs it")
            value = default
        else:
            _field(name, value, kind, least, most)
        config[name] = value
    for name in given:
        raise ConfigError(name, "is not a field of firstboot's")
    _together(config)
    return config


def _field(name, value, kind, least, most):
    if " " in kind:
        wrong = value not in kind.split() and "must be one of: " + kind
    elif kind == "b":
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
        raise ConfigError(name, wrong)


def _is_text(value):
    # Half a surrogate pair, which JSON can spell, is no character. Looked for in bytes: each character of a str that
    # is looked at becomes a name, which MicroPython never forgets.
    try:
        data = value.encode()
    except (AttributeError, ValueError):  # ValueError: CPython does not encode it
        return False
    return not any([data[i] == 0xED and data[i + 1] >= 0xA0 for i in range(len(data))])


def _together(config):
    # What no field can say alone.
    mode = config["credentials"]
    for name in ("provision.key", "provision.secret"):
        if config[name] is None and mode != "chain":
            raise ConfigError(name, "is missing: copy it from the device profile in ThingsBoard")
    if mode == "derived" and config["provision.fleet_secret"] is None:
        raise ConfigError("provision.fleet_secret", "is missing, and credentials is derived")
    transport = config["transport"]
    if mode == "basic" and transport != "mqtt":
        raise ConfigError("credentials", "basic works over mqtt only, and transport is " + transport)
    if mode in ("x509", "chain") and not config["tls.enabled"]:
        raise ConfigError("credentials", mode + " needs tls.enabled true")
    if mode == "x509" and transport == "http" or mode == "chain" and transport != "mqtt":
        raise ConfigError("credentials", "%s does not work over %s" % (mode, transport))
    name = config["provision.name"]
    for part in ("board", "mac", "uid"):
        name = name.replace("{%s}" % part, "")
    name = name.encode()
    if b"{" in name or b"}" in name:
        raise ConfigError("provision.name", "may hold {board}, {mac} and {uid} only")
    if config["retry.first"] > config["retry.most"]:
        raise ConfigError("retry.first", "must not be more than retry.most")
    if config["server.port"] is None:
        config["server.port"] = _PORTS[transport][config["tls.enabled"]]
