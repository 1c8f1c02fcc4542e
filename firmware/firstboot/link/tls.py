# TLS above a TCP stream, DTLS above datagrams: the only file that touches `tls`. MIT licence, (c) 2026 the firstboot
# authors.
#
# An errand of link/dial.py and of the links: loaded while a connection is made, and only where tls.enabled is true.
# Verified it is, CA and host name, or there is no connection; MicroPython's own `ssl` and `requests` don't verify.

import gc
import select
import time
import tls
from binascii import a2b_base64
from micropython import const

from .. import errand
from . import LinkError

_SET = const(2025)  # a clock of an earlier year was never set


def start(wire, first, kind="TLS"):
    """Shake hands on `wire` (a Wire, connected) and send `first` (bytes) when it is known who is there.

    `kind`: "DTLS" where `wire` is a CoAP Link, whose ready() also returns when nothing came, to send again.
    `wire.identity`: credentials to present, with "certificate" and "key" (base64 of DER) or "files" (names of those
    with the chain and the key), or None. LinkError says why not; then nothing of `first` has left the board.
    """
    seen = []
    try:
        context = tls.SSLContext(getattr(tls, "PROTOCOL_%s_CLIENT" % kind))
    except AttributeError:
        raise LinkError("this MicroPython has no DTLS: it takes 1.24 or newer")
    _prepare(context, wire, seen)
    wire.poll.unregister(wire.sock)
    gc.collect()
    try:
        wire.sock = context.wrap_socket(wire.sock, server_hostname=wire.host, do_handshake_on_connect=False)
        wire.poll.register(wire.sock, select.POLLOUT)
        done = 0
        while True:
            done += wire.sock.write(first, done, len(first) - done) or 0
            if done == len(first):
                break
            wire.ready("the TLS handshake")
    except LinkError:
        raise
    except (OSError, ValueError) as e:
        raise LinkError("TLS: " + errand("link.tls_why", "why", e, wire.identity, seen))
    context.verify_callback = None


def _prepare(context, wire, seen):
    path, ntp_host, ntp_port = wire.tls
    if path:
        if time.gmtime()[0] < _SET:
            try:
                errand("clock", "ensure", wire, ntp_host, ntp_port)
            except LinkError as e:
                raise LinkError("TLS needs the time: %s" % e)
        context.verify_mode = tls.CERT_REQUIRED
        _load(context, path)
    else:
        context.verify_mode = tls.CERT_NONE

    def look(certificate, depth):
        if not depth:
            seen.append(_is_self_signed(certificate))
        return 0

    # Called in the middle of the handshake; what it returns changes nothing.
    context.verify_callback = look
    if wire.identity:
        try:
            _present(context, wire.identity)
        except ValueError as e:
            raise LinkError("TLS: this board's certificate and key can't be used: %s" % e)


def _present(context, identity):
    sign = None
    if "files" in identity:
        sign = errand("x509.chip", "signer")
        certificates, key = errand("x509", "load", identity["files"], sign)
    else:
        certificates, key = [a2b_base64(identity["certificate"])], a2b_base64(identity["key"])
    for certificate in certificates:
        # One by one: mbedTLS takes a single certificate from DER, and adds it to those that it has.
        context.load_cert_chain(certificate, key)
    if sign:
        try:
            context.ecdsa_sign_callback = sign
        except AttributeError:
            raise LinkError("TLS: there is a secure_element, but this MicroPython's tls can't ask one to sign")


def _load(context, path):
    try:
        with open(path, "rb") as f:
            context.load_verify_locations(f.read())
    except ValueError:
        raise LinkError("tls.ca: %s is not a certificate in DER; `firstboot ca` makes one" % path)
    except OSError:
        raise LinkError("tls.ca: there is no file %s; `firstboot ca` makes one" % path)


def _is_self_signed(der):
    # Issuer and subject stand before and after the validity, and are compared as they are.
    at = _content(der, _content(der, 0)[0])[0]
    if der[at] == 0xA0:  # the version
        at = _content(der, at)[1]
    issuer = _content(der, _content(der, at)[1])[1]
    validity = _content(der, issuer)[1]
    subject = _content(der, validity)[1]
    return bytes(der[issuer:validity]) == bytes(der[subject : _content(der, subject)[1]])


def _content(der, at):
    # Of the element at `at`: where its content starts and ends. mbedTLS has read it before, so it is well-formed.
    size = der[at + 1]
    at += 2
    if size > 127:
        count = size & 127
        size = int.from_bytes(bytes(der[at : at + count]), "big")
        at += count
    return at, at + size
