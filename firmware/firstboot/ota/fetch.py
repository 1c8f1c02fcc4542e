# Download a package, check it, install it, restart. MIT licence, (c) 2026 the firstboot authors.
#
# An errand of loop.py. Samples are taken and sent between two chunks. What is on flash already is not asked for again:
# neither after a lost connection nor after a power cut.

from .. import errand, feed, log


def fetch(loop, package, sample):
    """Bring `package` (as look.py has it) onto the board, calling sample() in between, and reset the board into it.

    OSError and Denied as the link's verbs. Returns where the package was refused.
    """
    kind, title, version, size, algorithm, checksum, key = package
    state = errand("ota.state", "load")
    target = None
    try:
        target = errand("ota.chip" if kind == "fw" else "ota.files", "Target", state, size)
        if state.get("part") != key:
            target.clear()
            state["part"] = key
            errand("ota.state", "save", state)
        _tell(loop, kind, "DOWNLOADING")
        _download(loop, package, target, sample)
        _tell(loop, kind, "DOWNLOADED")
        found = errand("ota.digest", "Digest", algorithm).of(target)
        if found != checksum:
            raise ValueError("the checksum is %s and not %s" % (found, checksum))
        _tell(loop, kind, "VERIFIED")
        place, back = target.install()
    except ValueError as e:
        state.pop("part", None)
        if target:
            target.clear()
        errand("ota.state", "refuse", state, kind, key, str(e))
        errand("ota.state", "save", state)
        loop.ota.look = 0  # the server has closed the connection, perhaps; it is told then
        errand("ota.look", "inform", loop)
        return
    _tell(loop, kind, "UPDATING")
    state.pop("part", None)
    state["trial"] = [kind, title, version, key, place, back, 0, None]
    errand("ota.state", "save", state)
    log("update: %s %s is installed, restarting" % (title, version))
    errand("ota.trial", "restart", loop)


def _download(loop, package, target, sample):
    source = errand("ota." + loop.ota.transport, "Source", loop.link, package)
    chunk, size = source.chunk, package[3]
    if target.done % chunk and target.done < size:  # of a try with another chunk
        target.clear()
    began = target.done
    if began:
        log("update: going on at byte", began)
    try:
        while target.done < size:
            data = source.get(target.done // chunk)
            if len(data) != min(chunk, size - target.done):
                raise ValueError("the server has %d bytes at %d of %d" % (len(data), target.done, size))
            target.write(data)
            data = None
            feed()
            sample()
            loop.link.listen(0, loop.inbox)
    except OSError:
        if target.done > began:  # a connection that carries something each time gets there
            loop.ota.look = 0
        raise
    finally:
        target.close()


def _tell(loop, kind, state):
    loop.link.send(('{"%s_state":"%s"}' % (kind, state)).encode())
