"""The first boot with a certificate on CPython: Provisioner, store and MQTT link over mutual TLS to the stand-in."""

import os
import shutil

import pytest
from firstboot import board
from firstboot.candidate import make
from firstboot.link.mqtt import Link
from firstboot.provision import Provisioner
from firstboot.store import VERIFIED, Store

from tools.keys import make_authority
from tools.standin import Standin
from tools.standin.provisioning import X509_CHAIN

from .fakes import NAME, Stop, config


@pytest.fixture(params=["1.2", "1.3"])
def server(request):
    """A stand-in with TLS, of one version; its CA is on this board's flash."""
    with Standin(tls=True, newest_tls=request.param) as standin:
        shutil.copy(standin.ca_der, "ca.der")
        yield standin


def provision(server, mode):
    """Provision this test's board and send telemetry; returns its store."""
    given = config(server__port=server.mqtts_port, credentials=mode, tls__enabled=True, server__timeout=5)
    pauses = iter(range(5))

    def pause(is_slow):
        if next(pauses, None) is None:
            raise Stop

    link = Link(given)
    own = make(mode, NAME, None, os.urandom, ["cert.der", "key.der"])
    try:
        Provisioner(link, Store(board.slots()), NAME, "profile-key", "profile-secret", lambda: own, pause).run()
        link.send(b'{"hello":1}')
    finally:
        link.close()
    return Store(board.slots())


def test_a_key_of_its_own(server):
    server.add_profile()
    store = provision(server, "x509")
    assert store.state == VERIFIED
    assert server.device(NAME).credentials.value == store.credentials["certificate"]
    assert [(name, value) for name, _, value in server.telemetry(NAME)] == [("hello", 1)]


def test_a_chain(server, tmp_path):
    authority = make_authority(tmp_path / "ca", tmp_path / "root", "test", 5, None)
    server.add_profile("chain", X509_CHAIN, authority.provision_key, None, pattern="(.*)", allow_create=True)
    place = authority.issue(tmp_path / "out", NAME, 9).folder
    for file in ("cert.der", "key.der"):
        shutil.copy(place / file, file)
    store = provision(server, "chain")
    assert (store.state, server.provision_requests) == (VERIFIED, [])
    assert server.device(NAME).credentials.type == "X509_CERTIFICATE"
    assert [(name, value) for name, _, value in server.telemetry(NAME)] == [("hello", 1)]
