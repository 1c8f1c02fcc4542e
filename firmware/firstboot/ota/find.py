# Has the server an update for this board? MIT licence, (c) 2026 the firstboot authors.
#
# An errand of loop.py, the first half of an update. What it needs comes one after the other, so that it takes little
# more of the heap than its largest step; so does the other half, bring.py.

from .. import errand

_KEYS = (
    "fw_title,fw_version,fw_size,fw_checksum,fw_checksum_algorithm,fw_url,"
    "sw_title,sw_version,sw_size,sw_checksum,sw_checksum_algorithm,sw_url"
)


def find(loop):
    """Tell the server the news; returns a new package as look.py has it, or None. OSError and Denied as the verbs."""
    errand("ota.news", "tell_server", loop)
    package = errand("ota.look", "look", errand("ota." + loop.ota.transport, "attributes", loop.link, _KEYS))
    if package:
        try:
            errand("ota.look", "check", package)
            loop.link.send(('{"%s_state":"DOWNLOADING"}' % package[0]).encode())
            return package
        except ValueError as e:
            errand("ota.news", "refuse", loop, package, str(e))
    return None
