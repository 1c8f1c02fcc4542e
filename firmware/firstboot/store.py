# The identity on flash: what this board is to the server. MIT licence, (c) 2026 the firstboot authors.
#
# record.py has the bytes, and why there are two slots and more.

from . import errand

# The states of a record; provision.py has the transitions between them.
EMPTY = 0x00
CANDIDATE = 0x10
ASKED = 0x20
VERIFYING = 0x30
VERIFIED = 0x40


class Store:
    """The identity record in `slots` (as record.py has them); the first two are written in turn."""

    def __init__(self, slots):
        self.slots = slots
        self.hidden = ()
        self.seq, self.state, self.credentials = errand("record", "newest", slots)

    def save(self, state, credentials):
        """Write the record, then remember it. OSError: nothing was changed, neither here nor on flash."""
        record = self.seq + 1, state, credentials
        errand("record_write", "write", self.slots, record)
        self.seq, self.state, self.credentials = record

    def hide(self):
        """Keep what proves who this board is out of the log."""
        self.hidden = errand("secrets", "hide_credentials", self.credentials, self.hidden)
