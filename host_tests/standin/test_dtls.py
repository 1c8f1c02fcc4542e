"""The CoAP port with DTLS, by a client on pyOpenSSL: whose certificate a request came with, and who is refused."""

import datetime
import json
import socket
import time

import pytest
from aiocoap import Message
from aiocoap.numbers.codes import GET, POST
from aiocoap.numbers.types import CON
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from OpenSSL import SSL, crypto

from tools.standin import Standin
from tools.standin.authentication import certificate_text
from tools.standin.registry import x509_certificate

NOW = datetime.datetime.now(datetime.timezone.utc)
DAY = datetime.timedelta(days=1)


@pytest.fixture(scope="module")
def server():
    with Standin(tls=True) as standin:
        standin.add_profile()
        yield standin


def make_pair(end=1):
    """A key and a self-signed certificate that ends in `end` days."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "board")])
    builder = x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
    builder = builder.not_valid_before(NOW - 9 * DAY).not_valid_after(NOW + end * DAY)
    return builder.sign(key, hashes.SHA256()), key


class Client:
    """A DTLS client with a certificate, or without."""

    def __init__(self, port, pair=None):
        context = SSL.Context(SSL.DTLS_CLIENT_METHOD)
        if pair:
            context.use_certificate(crypto.X509.from_cryptography(pair[0]))
            context.use_privatekey(crypto.PKey.from_cryptography_key(pair[1]))
        self.engine = SSL.Connection(context, None)
        self.engine.set_connect_state()
        self.engine.set_ciphertext_mtu(1024)
        self.sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.sock.connect(("127.0.0.1", port))
        self.sock.settimeout(0.5)
        self.until(self.engine.do_handshake)
        self.mid = 0

    def post(self, *path, body=b'{"a":1}'):
        """The answer's code, as text."""
        return str(self.ask(POST, *path, payload=body).code.dotted)

    def ask(self, code, *path, payload=b"", **options):
        """The answer, a message."""
        self.mid += 1
        message = Message(code=code, _mtype=CON, _mid=self.mid, _token=b"t", payload=payload)
        message.opt.uri_path = path
        for name, value in options.items():
            setattr(message.opt, name, value)
        self.engine.send(message.encode())
        return self.hear()

    def hear(self):
        """The next message."""
        return Message.decode(self.until(lambda: self.engine.recv(4096)))

    def until(self, step):
        """Take this step again and again until it needs no more from the server; ConnectionError after 20 s."""
        end = time.monotonic() + 20
        while time.monotonic() < end:
            try:
                return step()
            except SSL.WantReadError:
                self._exchange()
            except SSL.Error as e:
                raise ConnectionError(str(e)) from e
            finally:
                self._flush()
        raise ConnectionError("no answer")

    def _exchange(self):
        self._flush()
        try:
            self.engine.bio_write(self.sock.recv(65536))
        except TimeoutError:
            self.engine.DTLSv1_handle_timeout()

    def _flush(self):
        while True:
            try:
                self.sock.send(self.engine.bio_read(65536))
            except SSL.WantReadError:
                return


def test_a_known_certificate_needs_no_token(server):
    pair = make_pair()
    profile = server.registry.profile(key="profile-key")
    server.add_device("known", profile, x509_certificate(certificate_text(pair[0])))
    client = Client(server.coaps_port, pair)
    assert client.post("api", "v1", "telemetry") == "2.01"
    assert client.post("api", "v1", "attributes") == "2.01"
    assert [(name, value) for name, _, value in server.telemetry("known")] == [("a", 1)]
    server.add_device("other", profile, "other-token")
    assert client.post("api", "v1", "other-token", "telemetry") == "2.01"  # a token still counts
    server.delete_device("known")
    assert client.post("api", "v1", "telemetry") == "4.01"
    assert client.ask(GET, "api", "v1", "attributes").code.dotted == "4.01"


def test_a_known_certificate_reads_and_observes_without_a_token(server):
    pair = make_pair()
    server.add_device("reader", server.registry.profile(key="profile-key"), x509_certificate(certificate_text(pair[0])))
    client = Client(server.coaps_port, pair)
    assert client.ask(GET, "api", "v1", "attributes").code.dotted == "4.04"  # there are none
    server.set_shared("reader", {"s": 1, "t": 2})
    for query, found in (((), {"s": 1, "t": 2}), (("sharedKeys=t",), {"t": 2})):
        answer = client.ask(GET, "api", "v1", "attributes", uri_query=query)
        assert (answer.code.dotted, json.loads(answer.payload)) == ("2.05", {"shared": found})
    first = client.ask(GET, "api", "v1", "attributes", observe=0)
    assert (first.opt.observe, json.loads(first.payload)) == (0, {"s": 1, "t": 2})
    server.set_shared("reader", {"s": 3})
    assert json.loads(client.hear().payload) == {"s": 3}
    calls = client.ask(GET, "api", "v1", "rpc", observe=0)
    assert (calls.code.dotted, calls.opt.observe) == ("2.03", 0)
    assert client.ask(GET, "api", "v1", "attributes", observe=1).code.dotted == "2.02"


@pytest.mark.parametrize("pair", [make_pair(), None], ids=["unknown certificate", "no certificate"])
def test_the_token_path_works_otherwise(server, pair):
    name = "with" if pair else "without"
    server.add_device(name, server.registry.profile(key="profile-key"), name + "-token")
    client = Client(server.coaps_port, pair)
    assert client.post("api", "v1", "telemetry") == "4.01"
    assert client.post("api", "v1", name + "-token", "telemetry") == "2.01"


def test_an_expired_certificate_is_refused_in_the_handshake(server):
    with pytest.raises(ConnectionError, match="certificate"):
        Client(server.coaps_port, make_pair(end=-1))
    assert server.wait_for(lambda s: any("out of its dates" in event.what for event in s.events))
