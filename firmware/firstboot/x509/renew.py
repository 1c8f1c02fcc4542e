# A new certificate in the place of an old one. MIT licence, (c) 2026 the firstboot authors.
#
# Old and new are both in the record on flash ("next") until the server has accepted one of them, so that a cut or a
# refusal at any point leaves a pair that it knows.

import os
from binascii import a2b_base64

from .. import errand
from ..store import ASKED, VERIFIED, Store
from . import files, now, own, reader


def rotate():
    """See firstboot.x509.rotate()."""
    store = Store(errand("board", "slots"))
    present = store.credentials
    if store.state != VERIFIED or present["credentialsType"] != "X509_CERTIFICATE":
        raise ValueError("the server knows this board by no certificate")
    if "files" in present:
        names = [name + files.NEW for name in present["files"]]
        if not files.exists(names[0]):
            raise ValueError("%s is missing" % names[0])
        certificates, _ = files.load(names, now(), errand("x509.chip", "signer"))
        store.save(ASKED, {"credentialsType": present["credentialsType"], "files": names, "next": present})
        return reader.read_cert(certificates[0])[0]
    if "next" not in present:
        name = reader.read_cert(a2b_base64(present["certificate"]))[0]
        present = dict(present)
        present["next"] = own.make(name, os.urandom, now())
        store.save(VERIFIED, present)
        store.hide()
    return present["next"]["certificate"]
