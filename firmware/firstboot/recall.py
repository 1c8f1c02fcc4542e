# Reading the identity record: an errand of store.py, at boot. MIT licence, (c) 2026 the firstboot authors.

import json
from binascii import crc32


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
    if isinstance(seq, int) and state in (0x00, 0x10, 0x20, 0x30, 0x40):
        return seq, state, credentials
    return None
