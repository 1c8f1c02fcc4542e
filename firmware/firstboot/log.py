# The log: one line an event, and the one place where secrets are taken out.
# MIT licence, (c) 2026 the firstboot authors.

import time

from . import errand

_began = time.ticks_ms()  # the ports' ticks start with the boot, the VM's do not
_secrets = []


def hide(*secrets, instead=()):
    """Never print these again (str, bytes or None each), plain or as repr() and JSON write them: from here on every
    line shows *** in their place. `instead`: what an earlier call has returned, and need not be hidden any longer."""
    return errand("secrets", "add", _secrets, secrets, instead)


def clean(text):
    """`text` without the secrets."""
    for secret in _secrets:
        text = text.replace(secret, "***")
    return text


def log(*parts):
    """Print the seconds since boot and `parts`, separated by spaces."""
    line = clean(" ".join([str(part) for part in parts]))
    print("%8.3f" % (time.ticks_diff(time.ticks_ms(), _began) / 1000), line)
