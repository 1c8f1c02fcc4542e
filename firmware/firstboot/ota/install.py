# A package that was downloaded and checked is what the next boot tries. MIT licence, (c) 2026 the firstboot authors.
#
# An errand of bring.py.

from .. import errand, log


def install(loop, package, slot):
    """Let the next boot try `package` (as look.py has it). `slot`: of the app that runs.

    OSError and Denied as the link's verbs; ValueError: why it can't.
    """
    kind, title, version, _, _, _, key, _ = package
    # Told before anything is noted: a lost acknowledgement ends this here, and it is done again at the next connection.
    for told in ("VERIFIED", "UPDATING"):
        loop.link.send(('{"%s_state":"%s"}' % (kind, told)).encode())
    back = None
    try:
        if kind == "fw":
            place, back = errand("ota.partition", "labels")
        else:
            place = errand("ota.tar", "install", 1 - (slot or 0))
        # Before the switch: an image that runs, and knows of no trial, would take the partition to go back to for the
        # next download. A cut in between is no matter, the boot makes up for it.
        errand("ota.state", "install", [kind, title, version, key, place, back, 0, None])
    except OSError as e:
        raise ValueError("flash: %s" % e)
    if kind == "fw":
        errand("ota.partition", "switch")
    log("update: %s %s is installed, restarting" % (title, version))
