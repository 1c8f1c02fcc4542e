# The pair of key and certificate that a board makes. MIT licence, (c) 2026 the firstboot authors.
#
# Step by step, each an errand: arithmetic and encoding are never in memory together.

from .. import errand


def make(name, urandom, now):
    """Credentials with a new key and a certificate that it signs. `now`: unix seconds, or None without a clock."""
    d = errand("x509.p256", "generate", urandom)
    public = errand("x509.p256", "public", d, urandom)
    body = errand("x509.cert", "body", name, public, urandom(16), now)
    signature = errand("x509.p256", "sign", d, body, urandom)
    return errand("x509.cert", "credentials", d, public, body, signature)
