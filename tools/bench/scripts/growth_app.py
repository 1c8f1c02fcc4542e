# An app that tells what is in use after 1,000 and after 100,000 samples.

import gc

count = 100000  # as many digits from the first sample to the last


def read():
    global count
    count += 1
    if count in (101000, 200000):
        gc.collect()
        print("after", count - 100000, "samples", gc.mem_alloc(), "bytes")
    return {"count": count}
