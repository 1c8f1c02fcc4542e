# The credentials that a board makes for itself, before it asks. MIT licence, (c) 2026 the firstboot authors.
#
# A candidate has 128 bits from the chip's random generator, or from the fleet's secret; nothing of it can be
# guessed from the name or the MAC.

from binascii import hexlify

from . import errand


def make(mode, name, fleet_secret, urandom, files=None):
    """Credentials (as codec.py describes them) for device `name` in credential mode `mode`.

    None in mode "server": there the server makes them. `urandom(n) -> bytes`: the random source. `files`: names of
    the certificate and the key file in mode "chain".
    """
    if mode == "token":
        return {"credentialsType": "ACCESS_TOKEN", "token": _hex(urandom(16))}
    if mode == "derived":
        return {"credentialsType": "ACCESS_TOKEN", "token": derive(fleet_secret, name)}
    if mode == "basic":
        return {
            "credentialsType": "MQTT_BASIC",
            "clientId": name,
            "username": _hex(urandom(16)),
            "password": _hex(urandom(16)),
        }
    if mode == "chain":
        return {"credentialsType": "X509_CERTIFICATE", "files": files}
    if mode == "x509":
        return errand("x509", "make", name)
    return None


def derive(fleet_secret, name):
    """The access token of device `name`: the first 32 hex digits of HMAC-SHA256(fleet_secret, name)."""
    return _hex(hmac_sha256(fleet_secret.encode(), name.encode()))[:32]


def hmac_sha256(key, message):
    """HMAC-SHA256 (RFC 2104), which MicroPython's hashlib lacks."""
    from hashlib import sha256

    if len(key) > 64:
        key = sha256(key).digest()
    key = key + bytes(64 - len(key))
    inner = sha256(bytes([b ^ 0x36 for b in key]) + message).digest()
    return sha256(bytes([b ^ 0x5C for b in key]) + inner).digest()


def _hex(data):
    return hexlify(data).decode()
