# Leaves FREE bytes of the heap to what comes after the first sample: an update of this board.

import gc

kept = None


def read():
    global kept
    gc.collect()
    # No pieces larger than the holes that a heap has anyway, and small ones to be exact.
    for size in (240, 1):
        while gc.mem_free() > FREE + size:  # noqa: F821 - the benchmark writes it at the head of this file
            kept = (bytearray(size), kept)
    return {"free": gc.mem_free()}
