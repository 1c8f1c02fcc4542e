# The identity record's bytes: errands of store.py. MIT licence, (c) 2026 the firstboot authors.
#
# A record is a CRC-32 and the JSON of [sequence number, state, credentials]. Two slots are written in turn, so
# that a write that dies half-way leaves the other one; further slots (NVS) get a copy of every record.

import json
from binascii import crc32

from . import log


def newest(slots):
    """(sequence number, state, credentials) of the newest record that is whole; (0, 0, None) without any."""
    newest = (0, 0, None)
    for slot in slots:
        record = _record(slot.read())
        if record and record[0] > newest[0]:
            newest = record
    return newest


def _record(data):
    # None where the CRC or the shape does not hold.
    try:
        if int(data[:8], 16) != crc32(data[8:]):
            return None
        seq, state, credentials = json.loads(data[8:])
    except (ValueError, TypeError):
        return None
    if isinstance(seq, int) and state in (0x00, 0x10, 0x20, 0x30, 0x40) and isinstance(credentials or {}, dict):
        return seq, state, credentials
    return None


def write(slots, record):
    """Write `record` (sequence number, state, credentials). OSError: nothing was changed on flash."""
    data = json.dumps(record).encode()
    data = b"%08x" % crc32(data) + data
    slots[record[0] & 1].write(data)
    for slot in slots[2:]:
        try:
            slot.write(data)
        except OSError as e:
            log("flash: no copy of the identity:", e)
