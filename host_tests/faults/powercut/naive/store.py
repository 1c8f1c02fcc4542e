# A naive store, for the simulator to catch: one file, removed and written again.

import json
import os
from binascii import crc32

from . import errand

EMPTY = 0x00
CANDIDATE = 0x10
ASKED = 0x20
VERIFYING = 0x30
VERIFIED = 0x40


class Store:
    def __init__(self, slots):
        self.state, self.credentials = EMPTY, None
        try:
            with open("identity.0", "rb") as f:
                data = f.read()
            if int(data[:8], 16) == crc32(data[8:]):
                _, self.state, self.credentials = json.loads(data[8:])
        except (OSError, ValueError):
            pass

    def save(self, state, credentials):
        body = json.dumps((1, state, credentials)).encode()
        if "identity.0" in os.listdir():
            os.remove("identity.0")
        with open("identity.0", "wb") as f:
            f.write(b"%08x" % crc32(body) + body)
        self.state, self.credentials = state, credentials

    def hide(self):
        if self.credentials:
            errand("secrets", "hide", [self.credentials.get(m) for m in ("token", "username", "password", "key")])
