"""Take secrets out of what a board says, before a person or a file gets it."""

from __future__ import annotations

import re
from typing import Any

from ..config import SECRETS, get

# Tokens, keys and PEM lines are long runs of letters and digits. A board's name and unique id are shorter, and what
# firstboot logs otherwise has words.
_TOKEN = re.compile(r"(?<![\w/+=-])(?=[\w/+=-]*\d)[A-Za-z0-9_/+=]{20,}(?![\w])")


class Mask:
    """`document`: a parsed config.json, whose secrets are never shown."""

    def __init__(self, document: Any = None) -> None:
        secrets = [get(document, name) for name in SECRETS] if isinstance(document, dict) else []
        found = {str(secret) for secret in secrets if secret}
        # As they are, and as a repr or a JSON string has them. The longest first, so that no rest is left behind.
        self.secrets = sorted(found | {repr(secret)[1:-1] for secret in found}, key=len, reverse=True)

    def __call__(self, text: str) -> str:
        """The text with *** for what must not be seen."""
        for secret in self.secrets:
            text = text.replace(secret, "***")
        return _TOKEN.sub("***", text)
