# Why a TLS handshake failed, in the user's words. MIT licence, (c) 2026 the firstboot authors.
#
# An errand of link/tls.py.

from errno import ENOMEM
from micropython import const

_EOF = const(-0x7280)  # mbedTLS's numbers; its texts are there on some ports only
_NO_RECORD = const(-0x7200)
_BAD_VERSION = const(-0x6E80)
_ALERT = const(-0x7780)
_MPI_ALLOC = const(16)


def why(error, identity, seen):
    """What `error` of a handshake means. `seen`: True in it where the server's certificate is self-signed."""
    if isinstance(error, ValueError):
        return "the server's certificate " + _refused(str(error), True in seen)
    code = error.errno
    # -16, mbedTLS's for no memory for a number, is an errno to MicroPython; the others have a text.
    if code in (ENOMEM, _MPI_ALLOC) or "llocat" in str(error):
        return "not enough memory for the handshake"
    if code == _EOF or code > 0:
        return "the server closed the connection in the handshake; does server.port speak TLS?"
    if code in (_NO_RECORD, _BAD_VERSION):
        return "the server does not speak TLS; look at server.port and tls.enabled"
    if code == _ALERT and identity:
        return "the server refuses this board's certificate"
    return "the handshake failed: %s" % error


def _refused(text, is_self_signed):
    # mbedTLS names everything that is wrong, a line each.
    reasons = []
    for part, reason in (
        ("trusted CA", "is self-signed, and not the one in tls.ca" if is_self_signed else "is not signed by tls.ca"),
        ("match", "is for another name than server.host"),
        ("expired", "has expired"),
        ("future", "is not valid yet"),
    ):
        if part in text:
            reasons.append(reason)
    return " and ".join(reasons) or "is refused: " + text
