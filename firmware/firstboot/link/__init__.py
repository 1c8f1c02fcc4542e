# The transports. MIT licence, (c) 2026 the firstboot authors.
#
# Each file has a class Link with the same verbs, and Link(config) does no I/O:
#   ask(request) -> answer    one provisioning request (bytes), one answer (bytes)
#   open(credentials)         be this device from now on; returns when the server has accepted it
#   send(payload)             one telemetry message (str or bytes of JSON); returns when acknowledged
#   report(payload)           the same for client attributes
#   listen(ms, handler)       wait, keep the connection alive, hand over what the server sends
#   close()                   never raises
# Every verb ends within its deadline, raises Denied or OSError, and leaves the link closed when it raises.


class LinkError(OSError):
    """The server can't be reached or does not keep to the protocol: args[0] says how.

    An OSError that is none of these: the connection broke, or the server closed it.
    """


class Denied(Exception):
    """The server is there and refuses these credentials: args[0] says with which code."""
