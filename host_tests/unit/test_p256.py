"""P-256: vectors, edges, and what `cryptography` says to our keys and signatures."""

import hashlib
import os
import re

import cryptography_vectors
import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, utils
from firstboot.x509 import p256

N = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
SHA256 = ec.ECDSA(hashes.SHA256())

# k, and k times the base point (the vectors that NIST's routines for P-256 are tested with).
MULTIPLES = [
    (
        1,
        "6B17D1F2E12C4247F8BCE6E563A440F277037D812DEB33A0F4A13945D898C296",
        "4FE342E2FE1A7F9B8EE7EB4A7C0F9E162BCE33576B315ECECBB6406837BF51F5",
    ),
    (
        2,
        "7CF27B188D034F7E8A52380304B51AC3C08969E277F21B35A60B48FC47669978",
        "07775510DB8ED040293D9AC69F7430DBBA7DADE63CE982299E04B79D227873D1",
    ),
    (
        112233445566778899,
        "339150844EC15234807FE862A86BE77977DBFB3AE3D96F4C22795513AEAAB82F",
        "B1C14DDFDC8EC1B2583F51E85A5EB3A155840F2034730E9B5ADA38B674336A21",
    ),
    (
        112233445566778899112233445566778899,
        "1B7E046A076CC25E6D7FA5003F6729F665CC3241B5ADAB12B498CD32F2803264",
        "BFEA79BE2B666B073DB69A2A241ADAB0738FE9D2DD28B5604EB8C8CF097C457B",
    ),
    (
        N - 1,
        "6B17D1F2E12C4247F8BCE6E563A440F277037D812DEB33A0F4A13945D898C296",
        "B01CBD1C01E58065711814B583F061E9D431CCA994CEA1313449BF97C840AE0A",
    ),
]

# RFC 6979, A.2.5: the key, its public key; then message, nonce, r and s with SHA-256.
RFC_KEY = 0xC9AFA9D845BA75166B5C215767B1D6934E50C3DB36E89B127B8A622B120F6721
RFC_PUBLIC = (
    "60FED4BA255A9D31C961EB74C6356D68C049B8923B61FA6CE669622E60F29FB6"
    "7903FE1008B8BC99A41AE9E95628BC64F2F1B20C2D7E9F5177A3C294D4462299"
)
RFC_SIGNATURES = [
    (
        b"sample",
        0xA6E3C57DD01ABE90086538398355DD4C3B17AA873382B0F24D6129493D8AAD60,
        0xEFD48B2AACB6A8FD1140DD9CD45E81D69D2C877B56AAF991C34D0EA84EAF3716,
        0xF7CB1C942D657C41D436C7A1B6E29F65F3E900DBB9AFF4064DC4AB2F843ACDA8,
    ),
    (
        b"test",
        0xD16B6AE827F17175E040871A1C7EC3500192C4C92677336EC2537ACAEE0008E0,
        0xF1ABB023518351CD71D881567B1EA663ED3EFCF6C5132B354F28D3B0B7D38367,
        0x019F4113742A2B14BD25926B49C649155F267E60D3814B4C0CC84250E46F0083,
    ),
]

# Few or many bits, carries, words of zeros, and around the comb's rows of 107 bits.
EDGES = [1, 2, 3, 4, 5, 7, N - 1, N - 2, N // 2, N // 2 + 1, N >> 8, N >> 128, 2**32 - 1, 2**255, 2**256 % N]
EDGES += [2**107, 2**107 + 1, 2**107 - 1, 2**108, 2**214, 2**214 + 2**107 + 1, 2**215 + 2**108 + 2, 2**213 - 1]


def seeded(seed):
    """A random source that repeats itself for the same `seed` (text)."""
    counter = iter(range(10**9))

    def urandom(count):
        return hashlib.sha512(f"{seed} {next(counter)}".encode()).digest()[:count]

    return urandom


def theirs(d):
    """The public key as `cryptography` computes it."""
    numbers = ec.derive_private_key(d, ec.SECP256R1()).public_key().public_numbers()
    return b"\4" + numbers.x.to_bytes(32, "big") + numbers.y.to_bytes(32, "big")


def verify(public, message, signature):
    key = ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), public)
    key.verify(utils.encode_dss_signature(*signature), message, SHA256)


@pytest.mark.parametrize(("k", "x", "y"), MULTIPLES)
def test_multiples_of_the_base_point(k, x, y):
    assert p256.public(k) == b"\4" + bytes.fromhex(x + y)


def cavp(name, section):
    """The records of one section of a NIST CAVP file (FIPS 186-3), each a dict of member -> hex digits."""
    with cryptography_vectors.open_vector_file(f"asymmetric/ECDSA/FIPS_186-3/{name}", "r") as f:
        text = f.read().partition(f"[{section}]")[2].partition("\n[P-")[0]
    records = [dict(re.findall(r"(\w+) = (\w+)", block)) for block in text.split("\n\n")]
    return [record for record in records if "Qx" in record]


def hexes(*texts):
    return [int(text, 16) for text in texts]


def test_cavp_key_pairs():
    records = cavp("KeyPair.rsp", "P-256")
    assert len(records) == 10
    for record in records:
        d, x, y = hexes(record["d"], record["Qx"], record["Qy"])
        assert p256.public(d) == p256.public(d, os.urandom) == b"\4" + p256.octets(x) + p256.octets(y)


def test_cavp_signatures(monkeypatch):
    records = cavp("SigGen.txt", "P-256,SHA-256")
    assert len(records) == 15
    for record in records:
        d, x, y, k, r, s = hexes(*[record[member] for member in ("d", "Qx", "Qy", "k", "R", "S")])
        # NIST draws the nonce at random: what RFC 6979 makes it of gives way to theirs.
        monkeypatch.setattr(p256, "hmac_sha256", lambda key, message, k=k: p256.octets(k))
        message = bytes.fromhex(record["Msg"])
        assert p256.public(d) == b"\4" + p256.octets(x) + p256.octets(y)
        assert p256.sign(d, message) == p256.sign(d, message, os.urandom) == (r, s)


@pytest.mark.parametrize("d", EDGES)
def test_edge_scalars(d):
    assert p256.public(d) == theirs(d)
    verify(theirs(d), b"message", p256.sign(d, b"message"))
    verify(theirs(d), b"message", p256.sign(d, b"message", os.urandom))


def test_blinding_never_changes_the_public_key():
    # Small scalars too, for which a blinded sum can meet a point of the table.
    for d in EDGES:
        for blind in [*range(20), 2**32, 2**63, 2**64 - 1]:
            assert p256.public(d, lambda n, blind=blind: blind.to_bytes(n, "big")) == theirs(d)


def test_random_scalars():
    source = seeded("scalars")
    for _ in range(300):
        d = p256.generate(source)
        assert p256.public(d) == p256.public(d, source) == theirs(d)


def test_coordinates_with_leading_zeros_stay_32_bytes():
    found = [d for d in range(1, 2000) if 0 in (theirs(d)[1], theirs(d)[33])]
    assert len(found) > 5
    assert all(p256.public(d) == theirs(d) for d in found)


@pytest.mark.parametrize(("message", "k", "r", "s"), RFC_SIGNATURES)
def test_rfc_6979(message, k, r, s):
    assert p256.public(RFC_KEY) == bytes.fromhex("04" + RFC_PUBLIC)
    assert p256.sign(RFC_KEY, message) == (r, s)
    assert p256.number(p256.public(k)[1:33]) % N == r  # so the nonce was k
    assert (int.from_bytes(hashlib.sha256(message).digest(), "big") + r * RFC_KEY) * pow(s, -1, N) % N == k


def test_low_and_high_s_both_occur_and_verify():
    source = seeded("s")
    d = p256.generate(source)
    low = 0
    for i in range(100):
        message = b"%d" % i
        r, s = p256.sign(d, message, source)
        verify(theirs(d), message, (r, s))
        verify(theirs(d), message, (r, N - s))
        low += s <= N // 2
    assert 20 < low < 80


def test_a_signature_is_of_its_message_and_key_only():
    signature = p256.sign(RFC_KEY, b"sample", os.urandom)
    verify(theirs(RFC_KEY), b"sample", signature)
    for public, message in ((theirs(RFC_KEY), b"Sample"), (theirs(RFC_KEY + 1), b"sample")):
        with pytest.raises(InvalidSignature):
            verify(public, message, signature)


def test_the_same_source_gives_the_same_key_and_signature_another_source_others():
    def outcome(seed):
        source = seeded(seed)
        d = p256.generate(source)
        return d, p256.sign(RFC_KEY, b"sample", source)[0]  # r tells the nonce

    assert outcome("a") == outcome("a")
    outcomes = [outcome(str(i)) for i in range(50)]
    assert len({d for d, _ in outcomes}) == len({r for _, r in outcomes}) == 50


def test_a_thousand_signatures_of_a_thousand_keys():
    nonces = set()
    for i in range(1000):
        source = seeded(f"signature {i}")
        d = p256.generate(source)
        message = source(i % 64)
        r, s = p256.sign(d, message, source)
        verify(theirs(d), message, (r, s))
        nonces.add(r)
    assert len(nonces) == 1000


def test_nonces_differ_for_each_message_and_each_key():
    assert len({p256.sign(d, b"%d" % i)[0] for d in (1, 2, 3) for i in range(10)}) == 30


def test_a_key_out_of_range_is_drawn_again():
    drawn = iter([bytes(32), N.to_bytes(32, "big"), b"\xff" * 32, (N - 1).to_bytes(32, "big")])
    assert p256.generate(lambda n: next(drawn)) == N - 1


@pytest.mark.parametrize("byte", [b"\0", b"\xff"])
def test_a_stuck_random_source_is_an_error(byte):
    with pytest.raises(OSError, match="random source"):
        p256.generate(lambda n: byte * n)


def test_a_nonce_out_of_range_is_drawn_again(monkeypatch):
    made = []
    real = p256.hmac_sha256

    def hmac_sha256(key, message):
        made.append(real(key, message))
        return b"\xff" * 32 if len(made) == 5 else made[-1]  # after two keys and two values: the first nonce

    monkeypatch.setattr(p256, "hmac_sha256", hmac_sha256)
    verify(theirs(RFC_KEY), b"sample", p256.sign(RFC_KEY, b"sample"))
    assert len(made) == 8
