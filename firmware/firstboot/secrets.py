# The forms in which a secret could get into a line of the log. MIT licence, (c) 2026 the firstboot authors.

import json


def add(forms, secrets, instead):
    """Add every form of `secrets` (str, bytes or None each) to the list `forms`: plain, as repr() and as JSON.

    Returns those that are new. `instead`: forms to remove before, or a hostile server's grants would fill the heap.
    """
    for form in instead:
        forms.remove(form)
    new = []
    for secret in secrets:
        if isinstance(secret, bytes):
            secret = secret.decode()
        if secret:
            for form in (secret, repr(secret)[1:-1], repr(secret.encode())[2:-1], json.dumps(secret)[1:-1]):
                if form not in forms:
                    forms.append(form)
                    new.append(form)
    # The longest first, so that a secret inside another one leaves no rest behind.
    forms.sort(key=len, reverse=True)
    return new
