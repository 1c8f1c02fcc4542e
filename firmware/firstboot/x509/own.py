# The pair of key and certificate that a board makes. MIT licence, (c) 2026 the firstboot authors.

from . import cert, p256


def make(name, urandom, now):
    """Credentials with a new key and a certificate that it signs. `now`: unix seconds, or None without a clock."""
    d = p256.generate(urandom)
    public = p256.public(d, urandom)
    return {
        "credentialsType": "X509_CERTIFICATE",
        "certificate": cert.text(cert.self_signed(d, name, urandom, now, public)),
        "key": cert.text(cert.key_der(d, public)),
    }
