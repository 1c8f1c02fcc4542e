"""Take secrets out of what a board says, before a person or a file gets it."""

from __future__ import annotations

import re
from typing import Any

from ..config import SECRETS, get

# Tokens, keys and PEM lines are long runs of letters and digits. A board's name and unique id are shorter, and what
# firstboot logs otherwise has words.
_HIDDEN = "\ue000"  # stands for a secret until the end: what it was part of is one too
_TOKEN = re.compile(rf"(/lib/[\w./]+)|(?=[\w/+=]*\d)[A-Za-z0-9_/+={_HIDDEN}]{{20,}}")


class Mask:
    """`document`: a parsed config.json, whose secrets are never shown."""

    def __init__(self, document: Any = None) -> None:
        secrets = [get(document, name) for name in SECRETS] if isinstance(document, dict) else []
        found = {str(secret) for secret in secrets if secret}
        # As they are, and as a repr or a JSON string has them. The longest first, so that no rest is left behind.
        self.secrets = sorted(found | {repr(secret)[1:-1] for secret in found}, key=len, reverse=True)

    def __call__(self, text: str) -> str:
        """What a board said, with *** for its config's secrets and for all that looks like a token or a key."""
        text = _TOKEN.sub(lambda found: found.group(1) or _HIDDEN, self._hide(text))
        return re.sub(f"{_HIDDEN}+", "***", text)

    def known(self, text: str) -> str:
        """What this program says, with *** for the config's secrets."""
        return re.sub(f"{_HIDDEN}+", "***", self._hide(text))

    def _hide(self, text: str) -> str:
        for secret in self.secrets:
            text = text.replace(secret, _HIDDEN * len(secret))
        return text
