"""Files with secrets in them."""

from __future__ import annotations

import contextlib
import os
import tempfile
from pathlib import Path


def write_private(path: Path, data: bytes) -> None:
    """Write the file `path`, or what it is a link to, in one go and readable by its owner only; OSError."""
    target = Path(os.path.realpath(path))
    if target.exists() and not target.is_file():  # /dev/stdout, a pipe: nothing to take the place of
        target.write_bytes(data)
        return
    # mkstemp makes the file for its owner only, so the secrets are never to be seen by others.
    handle, part = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}-")
    with contextlib.ExitStack() as undo:
        undo.callback(os.unlink, part)
        with os.fdopen(handle, "wb") as f:
            f.write(data)
        os.replace(part, target)
        undo.pop_all()
