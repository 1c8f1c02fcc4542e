# The forms in which a secret could get into a line of the log. MIT licence, (c) 2026 the firstboot authors.

import json


def add(forms, secrets):
    """Add every form of `secrets` (str, bytes or None each) to the list `forms`: plain, as repr() and as JSON."""
    for secret in secrets:
        if isinstance(secret, bytes):
            secret = secret.decode()
        if secret:
            for form in (secret, repr(secret)[1:-1], repr(secret.encode())[2:-1], json.dumps(secret)[1:-1]):
                if form not in forms:
                    forms.append(form)
    # The longest first, so that a secret inside another one leaves no rest behind.
    forms.sort(key=len, reverse=True)
