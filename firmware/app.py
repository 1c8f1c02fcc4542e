# Your board's work: the one file to edit. MIT licence.

import gc


def read():
    """One sample: a dict of names and values. Called every `period` seconds; None means nothing this time."""
    return {"heap_free": gc.mem_free()}
