# What a person can do about a refusal: an errand of provision.py. MIT licence, (c) 2026 the firstboot authors.
#
# One line each, at every slow try: who plugs a cable in later sees it, too.

from . import log


def not_found():
    """The server knows no profile with this key and this secret."""
    log("provision:", "look at provision.key and provision.secret")


def conflict(name):
    """The server refuses `name`, and does not know the credentials that this board holds."""
    log(
        "provision: the server has",
        name,
        "with credentials that this board does not hold: delete this device in ThingsBoard, or its server attribute"
        " provisionState if it was prepared there; create it if there is none",
    )


def chain():
    """The server lets nobody in with this chain."""
    log(
        "provision: it needs a device profile of strategy X.509 chain with the certificate that follows the leaf in"
        " x509.cert, whose pattern finds the name in the leaf's CN, and that may create devices"
    )
