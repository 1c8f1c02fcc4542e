# A package that was downloaded and checked is what the next boot tries. MIT licence, (c) 2026 the firstboot authors.
#
# An errand of bring.py.

from .. import errand, log


def install(loop, package, slot):
    """Let the next boot try `package` (as look.py has it). `slot`: of the app that runs. ValueError: why it can't."""
    kind, title, version, _, _, _, key, _ = package
    _tell(loop, kind, "VERIFIED")
    back = None
    try:
        if kind == "fw":
            place, back = errand("ota.partition", "labels")
        else:
            place = errand("ota.tar", "install", 1 - (slot or 0))
    except OSError as e:
        raise ValueError("flash: %s" % e)
    # Before the switch: an image that runs, and knows of no trial, would take the partition to go back to for the
    # next download. A cut in between is no matter, the boot makes up for it.
    errand("ota.state", "install", [kind, title, version, key, place, back, 0, None])
    if kind == "fw":
        errand("ota.partition", "switch")
    _tell(loop, kind, "UPDATING")
    log("update: %s %s is installed, restarting" % (title, version))


def _tell(loop, kind, state):
    loop.link.send(('{"%s_state":"%s"}' % (kind, state)).encode())
