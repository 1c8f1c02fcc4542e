# Keys and certificates that a board makes for itself, or is given. MIT licence, (c) 2026 the firstboot authors.
#
# The doors of this slice: each is an errand that leaves nothing of it in memory. p256.py has the arithmetic, der.py
# the encoding, cert.py the certificates, reader.py the way back; own.py makes a pair, files.py reads one, renew.py
# replaces either, chip.py asks a secure element to sign.

import os
import time
from micropython import const

from .. import errand, forget

_ENOENT = const(2)
# Before what needs them, one after the other: an import within an import takes more stack than a board may have.
_PARTS = ("candidate", "x509.p256", "x509.der", "x509.reader", "x509.files", "x509.own")


def make(name):
    """Credentials (as codec.py describes them) of a new key, and of a certificate that it signs for device `name`."""
    try:
        return errand("x509.own", "make", name, os.urandom, now())
    finally:
        _forget()


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
    """`credentials` that the server has accepted, without those that they replace; new files take the old names.

    A second call after a cut in the first one goes on where that stopped.
    """
    settled = dict(credentials)
    del settled["next"]
    if "files" in settled:
        settled["files"] = []
        for name in credentials["files"]:
            if name.endswith(".new"):
                new, name = name, name[:-4]
                try:
                    os.rename(new, name)
                except OSError as e:
                    if e.errno != _ENOENT:  # the old key goes on, or it has its new name already
                        raise
            settled["files"].append(name)
    return settled


def now():
    """Unix seconds; None where the clock was never set."""
    if time.gmtime()[0] < 2025:
        return None
    # The ports count from 1970 or from 2000.
    return int(time.time()) + (946684800 if time.gmtime(0)[0] == 2000 else 0)


def _errand(module, function, *args):
    try:
        for name in _PARTS:
            __import__("firstboot." + name)
        return errand("x509." + module, function, *args)
    finally:
        _forget()


def _forget():
    for name in _PARTS + ("x509.cert", "x509", "store"):
        forget("firstboot." + name)
