# `os` as the firmware sees it: the VM's own, on a machine that calls itself what the board does.

import os as _os

for _name in dir(_os):
    if _name[0] != "_":
        globals()[_name] = getattr(_os, _name)


def start(spec):
    global _machine, _port
    _machine = spec["machine"]
    _port = spec["port"]
    if spec["seed"] is not None:
        global urandom
        urandom = _Seeded(spec["seed"])


def uname():
    from sys import implementation

    return (_port, "vboard", "%d.%d.%d" % implementation[1][:3], "", _machine)


class _Seeded:
    # A repeatable random source, for tests that compare two boots: SHA-256 in counter mode.
    def __init__(self, seed):
        self.seed = seed
        self.count = 0

    def __call__(self, size):
        from hashlib import sha256

        data = b""
        while len(data) < size:
            self.count += 1
            data += sha256(b"%d/%d" % (self.seed, self.count)).digest()
        return data[:size]
