# Keys and certificates that a board makes for itself, or is given. MIT licence, (c) 2026 the firstboot authors.
#
# p256.py has the arithmetic, der.py the encoding, cert.py the certificates.
