# The log: one line an event, and the one place where secrets are taken out.
# MIT licence, (c) 2026 the firstboot authors.

import sys
import time

_began = time.ticks_ms()  # the ports' ticks start with the boot, the VM's do not
_secrets = []


def hide(secret):
    """Never print `secret` (str, bytes or None) again: from here on every line shows *** in its place."""
    if isinstance(secret, bytes):
        secret = secret.decode()
    if secret and secret not in _secrets:
        _secrets.append(secret)
        # The longest first, so that a secret inside another one leaves no rest behind.
        _secrets.sort(key=lambda s: -len(s))


def hide_credentials(credentials):
    """Hide what proves who this board is: token, user name, password and key of a credentials dict, or None."""
    if credentials:
        for member in ("token", "username", "password", "key"):
            hide(credentials.get(member))


def redact(line):
    """`line` with every hidden secret replaced by ***."""
    for secret in _secrets:
        line = line.replace(secret, "***")
    return line


def log(*parts):
    """Print the seconds since boot and `parts`, separated by spaces."""
    print("%8.3f" % (time.ticks_diff(time.ticks_ms(), _began) / 1000), redact(" ".join([str(p) for p in parts])))


def trace(error):
    """Print `error` with its traceback, a line at a time."""
    import io

    out = io.StringIO()
    sys.print_exception(error, out)
    for line in out.getvalue().split("\n"):
        if line:
            log("   ", line)
