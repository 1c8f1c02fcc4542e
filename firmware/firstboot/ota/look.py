# What has the server assigned to this board? MIT licence, (c) 2026 the firstboot authors.
#
# An errand of loop.py. ThingsBoard tells of a package in shared attributes (contract 9), which are asked for: they
# are pushed over MQTT only, and not to a board that was away.

import json
from micropython import const

from .. import errand, forget, log
from .state import load, refuse, save

forget("firstboot.ota.state")

_KINDS = ("fw", "sw")
_MEMBERS = ("title", "version", "size", "checksum", "checksum_algorithm", "url")
_MOST = const(16777216)  # bytes of a package; the ESP32's largest flash


def look(loop):
    """Tell the server the news, ask for what it has assigned; a package to fetch, or None. OSError as the link's verbs.

    A package: (kind, title, version, size, algorithm, checksum, key).
    """
    inform(loop)
    keys = ",".join(["%s_%s" % (kind, member) for kind in _KINDS for member in _MEMBERS])
    found = errand("ota." + loop.ota.transport, "attributes", loop.link, keys)
    if not isinstance(found, dict):
        return None
    state = load()
    for kind in _KINDS:
        title, version, size, checksum, algorithm, url = [found.get("%s_%s" % (kind, member)) for member in _MEMBERS]
        if not isinstance(title, str) or not isinstance(version, str):  # none is assigned
            continue
        mine = state.get(kind, {})
        key = "%s %s %s" % (title, version, checksum)
        if [title, version] == mine.get("now") or key == mine.get("bad"):
            continue
        log("update: the server has %s %s, %s bytes" % (title, version, size))
        why = _fault(size, checksum, algorithm, url)
        if not why:
            return kind, title, version, size, algorithm, checksum, key
        refuse(state, kind, key, why)
        save(state)
        inform(loop)


def inform(loop):
    """Send what the server has not heard yet, and once a boot what runs. OSError as the link's verbs."""
    state = load()
    for kind in _KINDS:
        mine = state.get(kind, {})
        news = mine.get("news", {})
        if mine.get("now") and (news or not loop.ota.is_told):
            news["current_%s_title" % kind], news["current_%s_version" % kind] = mine["now"]
        if news:
            loop.link.send(json.dumps(news).encode())
        if mine.pop("news", None):
            save(state)
    loop.ota.is_told = True


def _fault(size, checksum, algorithm, url):
    if url:
        return "the package is a link; this board takes uploaded ones"
    if not isinstance(size, int) or not 0 < size <= _MOST:
        return "fw_size or sw_size is no size: %s" % size
    if not isinstance(checksum, str) or not checksum:
        return "the package has no checksum"
    try:
        errand("ota.digest", "Digest", algorithm)
    except ValueError as e:
        return str(e)
