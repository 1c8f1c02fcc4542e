# How long to wait before the next try. MIT licence, (c) 2026 the firstboot authors.


class Backoff:
    """Exponential back-off with full jitter: a fleet that lost its server must not come back as one.

    `first`, `most`: seconds; `urandom(n) -> bytes`: the random source.
    """

    def __init__(self, first, most, urandom):
        self.first = first
        self.most = most
        self.urandom = urandom
        self.reset()

    def reset(self):
        """Start again from `first`: the last try succeeded."""
        self.span = self.first

    def next(self):
        """Milliseconds to wait now: between a tenth and the whole of a span that doubles each time."""
        r = self.urandom(2)
        span = self.span
        self.span = min(span * 2, self.most)
        # A tenth at least: full jitter may draw zero, and a loop without any pause would starve the port.
        return int(span * (100 + 900 * (r[0] << 8 | r[1]) / 65535))
