# Download a package. MIT licence, (c) 2026 the firstboot authors.
#
# An errand of bring.py. Samples are taken and sent between two chunks. What is on flash already is not asked for
# again: neither after a lost connection nor after a power cut.

from .. import feed, log
from ..link import LinkError


def fetch(loop, size, source, target, sample):
    """Bring `size` bytes from `source` into `target`, calling sample() in between.

    OSError and Denied as the link's verbs; ValueError: they can't be had.
    """
    chunk = source.chunk
    if target.there % chunk and target.there < size:  # of a try with another chunk
        target.clear()
    began = target.there
    if began:
        log("update: going on at byte", began)
    try:
        while target.there < size:
            data = source.get(target.there // chunk)
            if not data and target.there > began:  # the server's cache has let go of it, until the next connection
                raise LinkError("the server has nothing at byte %d" % target.there)
            if len(data) != min(chunk, size - target.there):
                raise ValueError("the server has %d bytes at %d of %d" % (len(data), target.there, size))
            try:
                target.write(data)
            except OSError as e:
                raise ValueError("flash: %s" % e)
            feed()
            sample()
            loop.link.listen(0, loop.inbox)
    except OSError:
        if target.there > began:  # a connection that carries something each time gets there
            loop.ota.look = 0
        raise
    finally:
        target.close()
