"""The credentials that a board makes for itself."""

import base64
import hashlib
import hmac
import os
import re
import sys

import firstboot
import pytest
from cryptography import x509
from firstboot import candidate
from firstboot.x509 import reader

FLEET = "a fleet secret of some length"
NAME = "ESP32-240ac4010203"
HEX = re.compile(r"[0-9a-f]{32}$")


def counting():
    """A random source whose bytes never repeat."""
    given = iter(range(256))
    return lambda n: bytes(next(given) for _ in range(n))


def test_a_token_has_128_bits_of_the_random_source():
    asked = []
    made = candidate.make("token", NAME, None, lambda n: asked.append(n) or bytes(range(n)))
    assert asked == [16]
    assert made == {"credentialsType": "ACCESS_TOKEN", "token": bytes(range(16)).hex()}


def test_basic_has_the_name_as_client_id_and_two_random_texts():
    made = candidate.make("basic", NAME, None, counting())
    assert made["credentialsType"] == "MQTT_BASIC" and made["clientId"] == NAME
    assert HEX.match(made["username"]) and HEX.match(made["password"])
    assert made["username"] != made["password"]


def test_server_makes_none():
    assert candidate.make("server", NAME, None, os.urandom) is None


def test_x509_is_a_certificate_for_the_name_and_its_key():
    made = candidate.make("x509", NAME, None, None)
    certificate, key = base64.b64decode(made["certificate"]), base64.b64decode(made["key"])
    assert made == {"credentialsType": "X509_CERTIFICATE", "certificate": made["certificate"], "key": made["key"]}
    theirs = x509.load_der_x509_certificate(certificate)
    theirs.verify_directly_issued_by(theirs)
    assert theirs.subject.rfc4514_string() == "CN=" + NAME
    reader.check(certificate, key)
    assert candidate.make("x509", NAME, None, None)["key"] != made["key"]


def test_x509_leaves_nothing_of_its_arithmetic_in_memory():
    firstboot.errand("candidate", "make", "x509", NAME, None, None)
    assert not [name for name in sys.modules if name.startswith(("firstboot.x509", "firstboot.candidate"))]


def test_chain_names_the_files():
    made = candidate.make("chain", NAME, None, None, ["cert.der", "key.der"])
    assert made == {"credentialsType": "X509_CERTIFICATE", "files": ["cert.der", "key.der"]}


def test_derived_is_hmac_of_the_name():
    made = candidate.make("derived", NAME, FLEET, lambda n: pytest.fail("needs no random source"))
    expected = hmac.new(FLEET.encode(), NAME.encode(), hashlib.sha256).hexdigest()[:32]
    assert made == {"credentialsType": "ACCESS_TOKEN", "token": expected}


@pytest.mark.parametrize("secret", ["x" * 16, "x" * 64, "x" * 65, "x" * 255, "Schlüssel für die Flotte", "钥" * 85])
@pytest.mark.parametrize("name", ["a", NAME, "Gerät 板", "n" * 255])
def test_derive(secret, name):
    expected = hmac.new(secret.encode(), name.encode(), hashlib.sha256).hexdigest()[:32]
    assert candidate.derive(secret, name) == expected


@pytest.mark.parametrize("size", [0, 1, 20, 55, 63, 64, 65, 128, 131, 300])
def test_hmac_with_keys_of_any_length(size):
    key = bytes(i & 255 for i in range(size))
    for message in (b"", b"message", bytes(200)):
        assert candidate.hmac_sha256(key, message) == hmac.new(key, message, hashlib.sha256).digest()


def test_hmac_rfc_4231_case_6():
    expected = "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54"
    message = b"Test Using Larger Than Block-Size Key - Hash Key First"
    assert candidate.hmac_sha256(b"\xaa" * 131, message).hex() == expected
