# How long to wait before the next try. MIT licence, (c) 2026 the firstboot authors.
#
# Exponential back-off with full jitter: a fleet that lost its server must not come back as one.


def draw(backoff, urandom):
    """Milliseconds to wait now: between a tenth and the whole of a span that doubles each time.

    `backoff`: [span, first, most], all in seconds; who succeeds sets the span to the first one again.
    `urandom(n) -> bytes`: the random source.
    """
    r = urandom(2)
    span, _, most = backoff
    backoff[0] = min(span * 2, most)
    # A tenth at least: full jitter may draw zero, and a loop without any pause would starve the port.
    return int(span * (100 + 900 * (r[0] << 8 | r[1]) / 65535))
