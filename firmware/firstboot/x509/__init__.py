# Keys and certificates that a board makes for itself, or is given. MIT licence, (c) 2026 the firstboot authors.
#
# The doors of this slice: each is an errand that leaves nothing of it in memory. p256.py has the arithmetic, der.py
# the encoding, cert.py the certificates, reader.py the way back; own.py makes a pair, files.py reads one, renew.py
# replaces either.

import os
import time

from .. import errand, forget


def make(name):
    """Credentials (as codec.py describes them) of a new key, and of a certificate that it signs for device `name`."""
    return _errand("own", "make", name, os.urandom, now())


def load(files, is_chip):
    """What `files` (names of the certificate and the key file) hold: the certificates, leaf first, and the key, in DER.

    ValueError says which file is wrong, and what with it. `is_chip`: the key file is a chip's reference to the key.
    """
    return _errand("files", "load", files, now(), is_chip)


def request():
    """Print a request for a certificate (PKCS #10, PEM) for the key in the file x509.key, which is made if need be.

    A board that has a certificate makes a new key, in a file of that name with ".new" after it.
    """
    return _errand("files", "request", os.urandom)


def rotate():
    """Prepare this board's next certificate; what it returns tells it apart.

    With files: checks those with ".new" after their names, for the next start to try; returns the common name. With
    a key of the board's own: makes another pair, which is tried once the server refuses the old one, and returns its
    certificate (base64 of the DER), for a person or a script to set as the device's credentials.
    """
    return _errand("renew", "rotate")


def swap(credentials):
    """`credentials` whose "next" ones have come to the front."""
    new, old = dict(credentials["next"]), dict(credentials)
    del old["next"]
    new["next"] = old
    return new


def settle(credentials):
    """`credentials` that the server has accepted, without those that they replace; new files take the old names."""
    return _errand("renew", "settle", credentials)


def now():
    """Unix seconds; None where the clock was never set."""
    if time.gmtime()[0] < 2025:
        return None
    # The ports count from 1970 or from 2000.
    return int(time.time()) + (946684800 if time.gmtime(0)[0] == 2000 else 0)


def _errand(module, function, *args):
    try:
        return errand("x509." + module, function, *args)
    finally:
        for name in ("renew", "own", "files", "reader", "cert", "der", "p256"):
            forget("firstboot.x509." + name)
        for name in ("x509", "candidate", "store", "board"):
            forget("firstboot." + name)
