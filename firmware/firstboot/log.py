# The log: one line an event, and the one place where secrets are taken out.
# MIT licence, (c) 2026 the firstboot authors.

import json
import time

_began = time.ticks_ms()  # the ports' ticks start with the boot, the VM's do not
_secrets = []


def hide(*secrets):
    """Never print these again (str, bytes or None each), plain or as repr() and JSON write them: from here on every
    line shows *** in their place."""
    for secret in secrets:
        if isinstance(secret, bytes):
            secret = secret.decode()
        if secret:
            for form in (secret, repr(secret)[1:-1], repr(secret.encode())[2:-1], json.dumps(secret)[1:-1]):
                if form not in _secrets:
                    _secrets.append(form)
    # The longest first, so that a secret inside another one leaves no rest behind.
    _secrets.sort(key=len, reverse=True)


def log(*parts):
    """Print the seconds since boot and `parts`, separated by spaces."""
    line = " ".join([str(part) for part in parts])
    for secret in _secrets:
        line = line.replace(secret, "***")
    print("%8.3f" % (time.ticks_diff(time.ticks_ms(), _began) / 1000), line)
