# The identity record's bytes, and reading them: an errand of store.py. MIT licence, (c) 2026 the firstboot authors.
#
# A record is a CRC-32 and the JSON of [sequence number, state, credentials]. Two slots are written in turn, so
# that a write that dies half-way leaves the other one; further slots (NVS) get a copy of every record. A slot is the
# path of a file, or an esp32.NVS. record_write.py writes them.

import json
from binascii import crc32
from micropython import const

_MOST = const(2048)  # bytes of a record in NVS
_INVALID_LENGTH = const(-0x110C)  # ESP_ERR_NVS_INVALID_LENGTH: the buffer is too short


def newest(slots):
    """(sequence number, state, credentials) of the newest record that is whole; (0, 0, None) without any."""
    newest = (0, 0, None)
    for slot in slots:
        record = _record(_read(slot))
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


def _read(slot):
    # The bytes of the record; b"" when there is none.
    try:
        if isinstance(slot, str):
            with open(slot, "rb") as f:
                return f.read()
        size = 256  # enough for a token; a record with certificates takes 2 KB
        while True:
            buffer = bytearray(size)
            try:
                return bytes(buffer[: slot.get_blob("identity", buffer)])
            except OSError as e:
                if e.errno != _INVALID_LENGTH or size >= _MOST:
                    raise
            size *= 2
    except OSError:
        return b""
