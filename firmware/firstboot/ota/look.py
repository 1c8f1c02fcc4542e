# What has the server assigned to this board? MIT licence, (c) 2026 the firstboot authors.
#
# Errands of find.py. ThingsBoard tells of a package in shared attributes (contract 9), which are asked for: they are
# pushed over MQTT only, and not to a board that was away.

from micropython import const

from .. import errand, log

_KINDS = ("fw", "sw")
_MOST = const(16777216)  # bytes of a package; the ESP32's largest flash


def look(shared):
    """The package that the attributes `shared` name, if it is new: (kind, title, version, size, algorithm, checksum,
    key, url); else None."""
    if not isinstance(shared, dict):
        return None
    state = errand("ota.state", "load")
    for kind in _KINDS:
        title, version, checksum = [shared.get("%s_%s" % (kind, name)) for name in ("title", "version", "checksum")]
        mine = state.get(kind, {})
        key = "%s %s %s" % (title, version, checksum)
        # Without texts none is assigned.
        if isinstance(title, str) and isinstance(version, str) and [title, version] != mine.get("now"):
            if key != mine.get("bad"):
                names = ("size", "checksum_algorithm", "url")
                size, algorithm, url = [shared.get("%s_%s" % (kind, name)) for name in names]
                log("update: the server has %s %s, %s bytes" % (title, version, size))
                return kind, title, version, size, algorithm, checksum, key, url
    return None


def check(package):
    """Look over what the server says of `package`. ValueError: why it can't be taken."""
    kind, _, _, size, algorithm, checksum, _, url = package
    if url:
        raise ValueError("the package is a link; this board takes uploaded ones")
    if not isinstance(size, int) or not 0 < size <= _MOST:
        raise ValueError("%s_size is no size: %s" % (kind, size))
    if not isinstance(checksum, str) or not checksum:
        raise ValueError("the package has no checksum")
    errand("ota.digest", "make", algorithm)
