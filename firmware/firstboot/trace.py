# Tell of an exception that was not expected. MIT licence, (c) 2026 the firstboot authors.

import io
import sys

from . import log


def trace(error):
    """Print `error` with its traceback, a line at a time, with the secrets taken out."""
    for line in text(error).split("\n"):
        if line:
            log("   ", line)


def text(error):
    """`error` and its traceback."""
    out = io.StringIO()
    sys.print_exception(error, out)
    return out.getvalue()
