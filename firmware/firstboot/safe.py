# What runs in the place of an app that crashes the board. MIT licence, (c) 2026 the firstboot authors.

import gc


def read():
    """A sign of life."""
    return {"heap_free": gc.mem_free()}
