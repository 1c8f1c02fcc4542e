# What a loop that looks for updates keeps in mind. MIT licence, (c) 2026 the firstboot authors.
#
# A file of its own: a class keeps all that its file has in memory, and that of begin.py is 1 KB.

import time


class Updates:
    """What loop.py needs: `every` ms to look, over which `transport`, when next (`look`; 0: now), the kind on `trial`.

    `is_told`: whether the server has heard what runs since the boot.
    """

    def __init__(self, every, transport, trial):
        self.began = time.ticks_ms()
        self.every = every
        self.transport = transport
        self.trial = trial
        self.look = 0
        self.is_told = False
