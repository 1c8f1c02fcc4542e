# Writing the identity record: an errand of store.py. MIT licence, (c) 2026 the firstboot authors.

import json
import os
from binascii import crc32

from . import log


def write(slots, record):
    """Write `record` (sequence number, state, credentials). OSError: nothing was changed on flash."""
    data = json.dumps(record).encode()
    data = b"%08x" % crc32(data) + data
    _write(slots[record[0] & 1], data)
    for slot in slots[2:]:
        try:
            _write(slot, data)
        except OSError as e:
            log("flash: no copy of the identity:", e)


def _write(slot, data):
    if isinstance(slot, str):
        return rewrite(slot, data)
    slot.set_blob("identity", data)
    slot.commit()


def rewrite(path, data):
    """Replace the file `path` in one step (temporary file, close, rename); OSError (flash full) leaves the old one."""
    new = path + ".new"
    with open(new, "wb") as f:
        f.write(data)
    os.rename(new, path)
