# An app that tells what a sample takes from the heap, from one read() to the next.

import gc

count = 0
before = 0


def read():
    global count, before
    if count == 20:
        gc.collect()
        gc.disable()
        before = gc.mem_alloc()
    if count == 70:
        print("sample allocates", (gc.mem_alloc() - before) // 50, "bytes")
        gc.enable()
    count += 1
    return {"count": count}
