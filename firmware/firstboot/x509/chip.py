# A key that a secure element holds. MIT licence, (c) 2026 the firstboot authors.


def signer():
    """What signs with a key that a secure element holds; None where there is none.

    A board that has one brings a module `secure_element` with sign(key, digest) -> signature. `key`: the private key
    in the file x509.key (bytes), which is then no secret but names one of the chip's keys; `digest`: what to sign;
    the signature: ECDSA-Sig-Value in DER. The port's `tls` must be built with MICROPY_PY_SSL_ECDSA_SIGN_ALT.
    """
    try:
        from secure_element import sign
    except ImportError:
        return None
    return sign
