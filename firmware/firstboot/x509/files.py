# Certificates and keys in files, as a factory or a CA hands them out. MIT licence, (c) 2026 the firstboot authors.
#
# Nothing here ever writes over a file that exists.

import os

from . import reader

NEW = ".new"  # comes after the name of a file that is to replace the one of that name


def load(files, now, is_chip):
    """The certificates, leaf first, and the key in `files` (two names). `now`: unix seconds, or None. ValueError."""
    chain, key = [_read(name) for name in files]
    try:
        certificates = reader.read_chain(chain)
        reader.check(certificates[0], None if is_chip else key, now)
    except ValueError as e:
        raise ValueError("%s, %s: %s" % (files[0], files[1], e))
    return certificates, key


def request(urandom):
    """Print a request for this board's name and the key in x509.key; both are made if there are none."""
    from .. import errand
    from . import cert, p256

    config = errand("config", "load", "config.json")
    name = errand("board", "name", config["provision.name"])
    path = config["x509.key"]
    if exists(config["x509.cert"]):
        path += NEW
    if exists(path):
        d = reader.read_key(_read(path))
    else:
        d = p256.generate(urandom)
        errand("record_write", "rewrite", path, cert.key_der(d, p256.public(d, urandom)))
    print(cert.pem(cert.request(d, name, urandom), "CERTIFICATE REQUEST"), end="")


def _read(name):
    if name.endswith(NEW) and not exists(name):
        # The same key for a new certificate; or the power went between the two renamings of settle().
        name = name[: -len(NEW)]
    try:
        with open(name, "rb") as f:
            return f.read()
    except OSError:
        raise ValueError("%s is missing; firstboot.x509.request() prints a request for a certificate" % name)


def exists(name):
    """Whether there is such a file."""
    try:
        os.stat(name)
        return True
    except OSError:
        return False
