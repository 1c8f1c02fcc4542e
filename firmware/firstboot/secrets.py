# What must never be in the log. MIT licence, (c) 2026 the firstboot authors.

import json

from . import _secrets


def hide(secrets, instead=()):
    """Never print `secrets` (str, bytes or None each) again: from here on every line shows *** in their place.

    Plain, and as repr() and JSON write them. Returns these forms, as far as they are new. `instead`: what an earlier
    call has returned, and need not be hidden any longer, or a hostile server's grants would fill the heap.
    """
    for form in instead:
        _secrets.remove(form)
    new = []
    for secret in secrets:
        if isinstance(secret, bytes):
            secret = secret.decode()
        if secret:
            for form in (secret, repr(secret)[1:-1], repr(secret.encode())[2:-1], json.dumps(secret)[1:-1]):
                if form not in _secrets:
                    _secrets.append(form)
                    new.append(form)
    # The longest first, so that a secret inside another one leaves no rest behind.
    _secrets.sort(key=len, reverse=True)
    return new


def hide_credentials(credentials, instead):
    """hide() what is secret in `credentials` (as codec.py describes them, or None)."""
    secrets = []
    while credentials:
        secrets.extend([credentials.get(member) for member in ("token", "username", "password", "key")])
        credentials = credentials.get("next")
    return hide(secrets, instead)
