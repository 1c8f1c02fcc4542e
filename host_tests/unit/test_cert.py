"""Certificates: what OpenSSL and `cryptography` say to ours, and what our readers say to damaged ones."""

import base64
import datetime
import hashlib
import random
import shutil
import subprocess
import time

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from firstboot.x509 import cert, der, p256, reader

NAME = "ESP32-240ac4010203"
NOW = 1_800_000_000
DAY = 86400
N = p256.N
openssl = pytest.mark.skipif(not shutil.which("openssl"), reason="there is no openssl program")


def seeded(seed):
    """A random source that repeats itself for the same `seed` (text)."""
    counter = iter(range(10**9))

    def urandom(count):
        return hashlib.sha512(f"{seed} {next(counter)}".encode()).digest()[:count]

    return urandom


def make(seed="board", name=NAME, now=NOW):
    """A private key, its certificate and its key file."""
    source = seeded(seed)
    d = p256.generate(source)
    return d, cert.self_signed(d, name, source, now), cert.key_der(d, p256.public(d))


def point(public_key):
    return public_key.public_bytes(serialization.Encoding.X962, serialization.PublicFormat.UncompressedPoint)


def common_name(name):
    return name.get_attributes_for_oid(NameOID.COMMON_NAME)[0].value


def utc(seconds):
    return datetime.datetime.fromtimestamp(seconds, datetime.timezone.utc)


def unix(*date):
    return int(datetime.datetime(*date, tzinfo=datetime.timezone.utc).timestamp())


def run(*command):
    return subprocess.run(command, capture_output=True, text=True, timeout=60)


@pytest.fixture(scope="module")
def thousand():
    """1,000 boards' (name, certificate), each with a key of its own."""
    boards = []
    for i in range(1000):
        source = seeded(f"board {i}")
        name = f"board-{i}"
        now = None if i % 2 else NOW - 100_000_000
        boards.append((name, cert.self_signed(p256.generate(source), name, source, now)))
    return boards


def test_cryptography_accepts_a_thousand_certificates(thousand):
    serials, keys, lows, short = set(), set(), 0, 0
    for name, data in thousand:
        theirs = x509.load_der_x509_certificate(data)
        theirs.verify_directly_issued_by(theirs)
        assert common_name(theirs.subject) == common_name(theirs.issuer) == name
        assert reader.read_cert(data)[3] == point(theirs.public_key())
        assert theirs.public_bytes(serialization.Encoding.DER) == data
        assert 0 < theirs.serial_number < 1 << 159
        serials.add(theirs.serial_number)
        keys.add(point(theirs.public_key()))
        r, s = (int.from_bytes(body, "big") for _, body in reader.items(reader.items(theirs.signature)[0][1]))
        lows += s <= N // 2
        short += min(r, s) < 1 << 248
    assert len(serials) == len(keys) == 1000
    assert 400 < lows < 600 and short


@openssl
def test_openssl_accepts_a_thousand_certificates(thousand, tmp_path):
    files = []
    for name, data in thousand:
        files.append(str(tmp_path / (name + ".pem")))
        (tmp_path / (name + ".pem")).write_text(cert.pem(data, "CERTIFICATE"))
    trusted = tmp_path / "all.pem"
    trusted.write_text("".join(cert.pem(data, "CERTIFICATE") for _, data in thousand))
    options = ["-x509_strict", "-partial_chain", "-check_ss_sig", "-purpose", "sslclient"]
    said = run("openssl", "verify", *options, "-CAfile", str(trusted), *files)
    assert said.returncode == 0, said.stdout[-500:] + said.stderr[-500:]
    assert said.stdout.count(": OK") == 1000


@openssl
def test_openssl_accepts_the_key_and_the_request(tmp_path):
    d, data, key = make()
    (tmp_path / "key.der").write_bytes(key)
    said = run("openssl", "ec", "-inform", "DER", "-in", str(tmp_path / "key.der"), "-noout", "-check")
    assert said.returncode == 0, said.stderr
    (tmp_path / "request.pem").write_text(cert.pem(cert.request(d, NAME, seeded("r")), "CERTIFICATE REQUEST"))
    said = run("openssl", "req", "-in", str(tmp_path / "request.pem"), "-noout", "-verify", "-subject")
    assert said.returncode == 0 and NAME in said.stdout, said.stderr
    (tmp_path / "cert.pem").write_text(cert.pem(data, "CERTIFICATE"))
    said = run("openssl", "x509", "-in", str(tmp_path / "cert.pem"), "-noout", "-text")
    assert "TLS Web Client Authentication" in said.stdout and "CA:FALSE" in said.stdout


def test_a_certificate_is_for_a_client_and_no_ca():
    extensions = x509.load_der_x509_certificate(make()[1]).extensions
    basic = extensions.get_extension_for_class(x509.BasicConstraints)
    usage = extensions.get_extension_for_class(x509.KeyUsage)
    assert basic.critical and not basic.value.ca
    assert usage.critical and usage.value.digital_signature and not usage.value.key_cert_sign
    assert list(extensions.get_extension_for_class(x509.ExtendedKeyUsage).value) == [ExtendedKeyUsageOID.CLIENT_AUTH]


def test_a_request_is_signed_and_has_name_and_key():
    d, _, _ = make()
    theirs = x509.load_der_x509_csr(cert.request(d, NAME, seeded("r")))
    assert theirs.is_signature_valid
    assert common_name(theirs.subject) == NAME
    assert point(theirs.public_key()) == p256.public(d)
    assert cert.request(d, NAME, seeded("r")) != cert.request(d, NAME, seeded("other"))


def test_the_same_source_gives_the_same_bytes_another_source_others():
    assert make("a") == make("a")
    assert len({make(seed)[1] for seed in "abcd"}) == 4


def test_a_known_public_key_is_not_computed_again(monkeypatch):
    d, _, _ = make()
    public = p256.public(d)
    monkeypatch.setattr(p256, "public", None)
    assert reader.read_cert(cert.self_signed(d, NAME, seeded("p"), NOW, public))[3] == public


@pytest.mark.parametrize("now", [NOW, 1582934400, 2_500_000_000, 4_102_444_799])
def test_valid_for_20_years_with_a_clock(now):
    data = make(now=now)[1]
    theirs = x509.load_der_x509_certificate(data)
    start = (now // DAY - 1) * DAY
    assert theirs.not_valid_before_utc == utc(start)
    assert theirs.not_valid_after_utc == utc(start + 631152000)
    assert reader.read_cert(data)[1:3] == (start, start + 631152000)


@pytest.mark.parametrize("now", [None, 0, 12345, 946684800])
def test_valid_from_2020_to_2049_without_a_clock(now):
    theirs = x509.load_der_x509_certificate(make(now=now)[1])
    assert theirs.not_valid_before_utc == utc(unix(2020, 1, 1))
    assert theirs.not_valid_after_utc == utc(unix(2049, 12, 31, 23, 59, 59))


@pytest.mark.filterwarnings("ignore:Attribute's length")  # `cryptography` counts bytes, X.520 characters
@pytest.mark.parametrize(("name", "expected"), [("x" * 64, "x" * 64), ("y" * 70, "y" * 64), ("é" * 65, "é" * 64)])
def test_a_name_is_cut_at_64_characters(name, expected):
    data = make(name=name)[1]
    assert common_name(x509.load_der_x509_certificate(data).subject) == expected
    assert reader.read_cert(data)[0] == expected


def test_times_of_two_centuries():
    days = random.Random(1)
    for seconds in [0, 951782400, 2524607999, 2524608000, 4107542399, *(days.randrange(0, 2**33) for _ in range(2000))]:
        ((tag, body),) = reader.items(der.time(seconds))
        date = utc(seconds)
        assert (tag, body) == (
            (0x17, date.strftime("%y%m%d%H%M%SZ").encode())
            if date.year < 2050
            else (0x18, date.strftime("%Y%m%d%H%M%SZ").encode())
        )
        if date.year >= 1950:
            assert reader.seconds(tag, body) == seconds
    assert reader.seconds(0x17, b"500101000000Z") == unix(1950, 1, 1)
    assert reader.seconds(0x18, b"99991231235959Z") == unix(9999, 12, 31, 23, 59, 59)


@pytest.mark.parametrize(
    "body",
    [b"", b"2601010000Z", b"260101000000"] + [b"260101000000+", b"26010100000 Z", b"261301000000Z", b"260100000000Z"],
)
def test_no_time(body):
    with pytest.raises(ValueError):
        reader.seconds(0x17, body)


@pytest.mark.parametrize("value", [0, 1, 127, 128, 255, 256, 2**255 - 1, 2**255, 2**256 - 1])
def test_integers_are_the_shortest_that_are_positive(value):
    ((tag, body),) = reader.items(der.integer(value))
    assert tag == 2 and body == value.to_bytes(value.bit_length() // 8 + 1, "big")


@pytest.mark.parametrize("size", [0, 1, 127, 128, 255, 256, 65535])
def test_elements_of_all_sizes(size):
    assert reader.items(der.put(4, bytes(size)) + b"\5\0") == [(4, bytes(size)), (5, b"")]


@pytest.mark.parametrize(
    "data",
    [
        b"\4",
        b"\4\1",
        b"\4\x80",
        b"\4\x81",
        b"\4\x81\x01a",
        b"\4\x81\x80",
    ]
    + [b"\4\x82\0\x80" + bytes(128), b"\4\x83\0\0\1a", b"\x1f\1a", b"\4\x82\1", b"\4\xff"],
)
def test_no_der(data):
    with pytest.raises(ValueError):
        reader.items(data)


def test_pem_and_text():
    _, data, _ = make()
    pem = cert.pem(data, "CERTIFICATE")
    assert x509.load_pem_x509_certificate(pem.encode()) == x509.load_der_x509_certificate(data)
    assert max(map(len, pem.splitlines())) == 64
    assert cert.text(data) == base64.b64encode(data).decode()


def test_keys_are_the_ones_that_cryptography_writes():
    d, _, key = make()
    theirs = ec.derive_private_key(d, ec.SECP256R1())
    assert key == theirs.private_bytes(
        serialization.Encoding.DER, serialization.PrivateFormat.TraditionalOpenSSL, serialization.NoEncryption()
    )
    for d in (1, N - 1, 2**200):
        assert reader.read_key(cert.key_der(d, p256.public(d))) == d


@pytest.mark.parametrize("d", [0, N, 2**256 - 1])
def test_a_key_out_of_range_is_damaged(d):
    with pytest.raises(ValueError, match="damaged key"):
        reader.read_key(cert.key_der(d, p256.public(1)))


def test_a_key_of_another_curve():
    key = ec.generate_private_key(ec.SECP384R1()).private_bytes(
        serialization.Encoding.DER, serialization.PrivateFormat.TraditionalOpenSSL, serialization.NoEncryption()
    )
    with pytest.raises(ValueError, match="key is not of P-256"):
        reader.read_key(key)


def issue(subject, issuer, key, issuer_key):
    """A certificate from elsewhere, as PEM tools make them; `subject` may be None for an empty name."""
    names = [
        x509.Name([x509.NameAttribute(NameOID.ORGANIZATION_NAME, "Org"), x509.NameAttribute(NameOID.COMMON_NAME, text)])
        if text
        else x509.Name([])
        for text in (subject, issuer)
    ]
    builder = x509.CertificateBuilder().subject_name(names[0]).issuer_name(names[1]).public_key(key.public_key())
    builder = builder.serial_number(7).not_valid_before(utc(NOW)).not_valid_after(utc(NOW + DAY))
    return builder.sign(issuer_key, hashes.SHA256()).public_bytes(serialization.Encoding.DER)


def test_certificates_from_elsewhere():
    key = ec.derive_private_key(12345, ec.SECP256R1())
    assert reader.read_cert(issue("leaf", "ca", key, key)) == ("leaf", NOW, NOW + DAY, p256.public(12345))
    assert reader.read_cert(issue(None, "ca", key, key))[0] == ""
    for other in (ec.generate_private_key(ec.SECP384R1()), rsa.generate_private_key(65537, 2048)):
        with pytest.raises(ValueError, match="not of P-256"):
            reader.read_cert(issue("leaf", "ca", other, key))


def test_a_chain():
    key = ec.generate_private_key(ec.SECP256R1())
    big = rsa.generate_private_key(65537, 2048)
    leaf = issue("leaf", "middle", key, key)
    middle = issue("middle", "root", key, big)
    root = issue("root", "root", big, big)
    assert reader.read_chain(leaf + middle + root) == [leaf, middle, root]
    assert reader.read_chain(leaf + middle) == [leaf, middle]
    assert reader.read_chain(leaf) == [leaf]
    for wrong in (middle + leaf, leaf + root, root + middle + leaf, leaf + leaf):
        with pytest.raises(ValueError, match="chain in the wrong order"):
            reader.read_chain(wrong)
    for damaged in (leaf + b"\0", leaf + middle[:-1], b"\x30\0", leaf + b"\x30\3\2\1\1"):
        with pytest.raises(ValueError, match="damaged certificate"):
            reader.read_chain(damaged)


def test_check_says_what_is_wrong():
    _, data, key = make()
    _, other, _ = make("other")
    reader.check(data, key, NOW)
    reader.check(data, key)
    wrong = [
        (data, key[:-1], NOW, "damaged key"),
        (data, b"", NOW, "damaged key"),
        (data[:-1], key, NOW, "damaged certificate"),
        (data + b"\0", key, NOW, "damaged certificate"),
        (b"", key, NOW, "damaged certificate"),
        (other, key, NOW, "key does not match the certificate"),
        (data, key, NOW - 2 * DAY - 1, "certificate not yet valid"),
        (data, key, NOW - DAY + 631152001, "certificate expired"),
    ]
    for certificate, secret, now, message in wrong:
        with pytest.raises(ValueError, match=message):
            reader.check(certificate, secret, now)


def mutations(data, count, seed):
    """Every byte changed in two ways, every truncation, and `count` random edits."""
    for i in range(len(data)):
        yield data[:i]
        for change in (0x01, 0x80, 0xFF):
            yield data[:i] + bytes([data[i] ^ change]) + data[i + 1 :]
    dice = random.Random(seed)
    for _ in range(count):
        edited = bytearray(data)
        for _ in range(dice.randint(1, 4)):
            i = dice.randrange(len(edited))
            edited[i : i + dice.choice((0, 1, 1, 2, 9))] = dice.randbytes(dice.choice((0, 1, 1, 2, 5)))
            edited = edited or bytearray(1)
        yield bytes(edited)


def test_readers_of_damaged_input_raise_only_value_error():
    _, data, key = make()
    other = make("other")[1]
    said = set()
    for source in (data, key, data + other):
        for damaged in mutations(source, 2000, len(source)):
            for read in (reader.read_cert, reader.read_key, reader.read_chain):
                try:
                    read(damaged)
                except ValueError as error:
                    said.add(str(error))
    assert said == {
        "damaged key",
        "damaged certificate",
        "key is not of P-256",
        "the certificate's key is not of P-256",
        "chain in the wrong order",
    }


def test_a_change_of_any_byte_of_the_secret_or_the_public_key_is_a_mismatch_or_damage():
    _, data, key = make()
    public = reader.read_cert(data)[3]
    place = data.index(public)
    for i in range(1, 65, 8):
        with pytest.raises(ValueError):
            reader.check(data[: place + i] + bytes([data[place + i] ^ 1]) + data[place + i + 1 :], key, NOW)
    for i in range(7, 39, 4):  # SEQUENCE, INTEGER 1, OCTET STRING: then 32 bytes
        with pytest.raises(ValueError, match="does not match|damaged key"):
            reader.check(data, key[:i] + bytes([key[i] ^ 1]) + key[i + 1 :], NOW)


def test_the_real_clock_of_today():
    source = seeded("now")
    d = p256.generate(source)
    reader.check(cert.self_signed(d, NAME, source, int(time.time())), cert.key_der(d, p256.public(d)), int(time.time()))
