"""`firstboot ca`: the CA certificate that a board verifies its server by, as the file ca.der."""

from __future__ import annotations

import contextlib
import ipaddress
import re
import select
import socket
import ssl
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from OpenSSL import SSL
from rich.markup import escape

from .console import Json, err, fail, out, print_json

_PORT = 8883  # MQTT with TLS
_MANY_BITS = 3072  # an RSA key that takes a board seconds

app = typer.Typer()


@dataclass(frozen=True)
class Found:
    """A certificate to trust, and how it is known: "this computer", "fingerprint", "you" or "a file"."""

    certificate: x509.Certificate
    known_by: str


@app.command(no_args_is_help=True)
def ca(
    server: Annotated[str, typer.Argument(help="host or host:port of ThingsBoard's MQTT or HTTP with TLS.")],
    file: Annotated[Path, typer.Option("--out", "-o", help="Where to write it.")] = Path("ca.der"),
    source: Annotated[
        Path | None, typer.Option("--file", help="Take the CA from this PEM or DER file, not from the server.")
    ] = None,
    fingerprint: Annotated[
        str | None, typer.Option("--sha256", help="The SHA-256 fingerprint that the CA's certificate must have.")
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Trust what the server shows without being asked.")] = False,
    timeout: Annotated[float, typer.Option(min=0.1, max=600, help="Seconds for each connection.")] = 10,
    as_json: Json = False,
) -> None:
    """Fetch the server's CA certificate and write it as the DER file that goes onto the board (tls.ca).

    The server is then asked again, trusting this certificate alone, as the board will: what is written works.

    firstboot ca thingsboard.example.org

    firstboot ca thingsboard.example.org:443 --out ca.der

    firstboot ca 192.168.1.5 --file my-ca.pem
    """
    host, port = _address(server)
    found = _from_file(source) if source else _from_server(host, port, timeout)
    found = _agreed(found, fingerprint, yes, as_json)
    _prove(found.certificate, host, port, timeout)
    try:
        file.write_bytes(found.certificate.public_bytes(serialization.Encoding.DER))
    except OSError as e:
        fail(f"{file} can't be written: {e.strerror}", "give another place with --out")
    document = {"file": str(file), "server": f"{host}:{port}", "known_by": found.known_by, **_facts(found.certificate)}
    if as_json:
        print_json(document)
        return
    console = out()
    console.print(f"[green]written[/] {escape(str(file))}; {escape(host)}:{port} was verified with it")
    console.print(_text(found.certificate))
    console.print('On the board: this file beside config.json, and in that "tls": {"enabled": true}')


def _address(server: str) -> tuple[str, int]:
    text = server.strip("/")
    host, colon, port = text.rpartition(":")
    if not colon or _is_ip(text.strip("[]")):
        host, port = text, str(_PORT)
    if host.startswith("[") and _is_ip(host[1:-1]):
        host = host[1:-1]  # as addresses of IPv6 are written before a port
    if not host or "/" in host or not port.isdigit() or not 0 < int(port) < 65536:
        fail(f"{server} is not a host or host:port", "such as thingsboard.example.org:8883")
    return host, int(port)


# Where it comes from


def _from_server(host: str, port: int, timeout: float) -> Found:
    chain, is_known = _chain(host, port, timeout)
    top = chain[-1]
    if is_known:
        return Found(top, "this computer")
    if len(chain) == 1 and top.issuer != top.subject and not _is_ca(top):
        fail(
            f"{host}:{port} shows its own certificate only, and this computer does not know who issued it: "
            + top.issuer.rfc4514_string(),
            "get that CA's certificate from whoever runs the server, and give it with --file",
        )
    return Found(top, "")


def _chain(host: str, port: int, timeout: float) -> tuple[list[x509.Certificate], bool]:
    """The server's certificates, its own first: up to the root, and True, where this computer's own store has that;
    else those that the server shows. Nothing is sent to it."""
    end = time.monotonic() + timeout
    faults: list[int] = []

    def note(connection: Any, certificate: Any, fault: int, depth: int, is_sound: int) -> bool:
        if not is_sound:
            faults.append(fault)
        return True

    context = SSL.Context(SSL.TLS_CLIENT_METHOD)
    context.set_default_verify_paths()
    context.set_verify(SSL.VERIFY_PEER, note)
    with _connected(host, port, timeout) as sock:
        sock.setblocking(False)
        connection = SSL.Connection(context, sock)
        if not _is_ip(host):
            connection.set_tlsext_host_name(host.encode())
        connection.set_connect_state()
        while True:
            try:
                connection.do_handshake()
                break
            except SSL.WantReadError:
                left = end - time.monotonic()
                if left <= 0 or not select.select([sock], [], [], left)[0]:
                    fail(f"{host}:{port} did not finish the TLS handshake within {timeout:g} s", "does it speak TLS?")
            except (SSL.Error, OSError) as e:
                fail(f"{host}:{port} does not speak TLS ({_reason(e)})", "MQTT with TLS is mostly on 8883, HTTP on 443")
        verified = None if faults else connection.get_verified_chain(as_cryptography=True)
        chain = verified or connection.get_peer_cert_chain(as_cryptography=True)
    if not chain:
        fail(f"{host}:{port} shows no certificate")
    return list(chain), bool(verified)


@contextlib.contextmanager
def _connected(host: str, port: int, timeout: float) -> Any:
    try:
        sock = socket.create_connection((host, port), timeout)
    except socket.gaierror as e:
        fail(f"{host} does not resolve: {e.strerror}")
    except OSError as e:
        fail(f"{host}:{port} can't be reached: {e.strerror or e}", "is the port right, and open in the firewall?")
    with sock:
        yield sock


def _from_file(path: Path) -> Found:
    try:
        data = path.read_bytes()
    except OSError as e:
        fail(f"{path} can't be read: {e.strerror}")
    try:
        if b"-----BEGIN" in data:
            certificates = x509.load_pem_x509_certificates(data)
        else:
            certificates = [x509.load_der_x509_certificate(data)]
    except ValueError:
        fail(f"{path} holds no certificate", "it wants a PEM file with BEGIN CERTIFICATE, or DER")
    if len(certificates) > 1:
        roots = [one for one in certificates if one.issuer == one.subject and _is_ca(one)]
        if len(roots) != 1:
            fail(f"{path} holds {len(certificates)} certificates, {len(roots)} of them roots: which one is not clear")
        certificates = roots
    return Found(certificates[0], "a file")


def _is_ca(certificate: x509.Certificate) -> bool:
    try:
        return bool(certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca)
    except (x509.ExtensionNotFound, ValueError):
        return False


# Whether it is to be trusted


def _agreed(found: Found, fingerprint: str | None, yes: bool, as_json: bool) -> Found:
    actual = _fingerprint(found.certificate)
    if fingerprint is not None:
        wanted = re.sub(r"[^0-9a-f]", "", fingerprint.lower().removeprefix("sha256"))
        if wanted != actual.replace(":", "").lower():
            fail(f"the CA's fingerprint is {actual}, another one than --sha256 says", "somebody may be in between")
        return Found(found.certificate, "fingerprint")
    if found.known_by:
        return found
    warning = "This computer does not know the CA that the server shows. Compare its fingerprint with the operator's:"
    if not yes:
        if as_json or not sys.stdin.isatty():
            fail(
                f"this computer does not know the server's CA, SHA-256 {actual}", "give --sha256, or --yes to trust it"
            )
        err().print(warning)
        err().print(_text(found.certificate))
        typer.confirm("Is it the same?", abort=True, err=True)
    return Found(found.certificate, "you")


def _prove(certificate: x509.Certificate, host: str, port: int, timeout: float) -> None:
    """Connect as the board will, trusting this certificate alone; fails with the reason why that does not work."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    # As mbedTLS has it: what is trusted need not be a root.
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    context.load_verify_locations(cadata=certificate.public_bytes(serialization.Encoding.DER))
    with _connected(host, port, timeout) as sock:
        try:
            context.wrap_socket(sock, server_hostname=host).close()
        except ssl.SSLCertVerificationError as e:
            fail(f"the board would refuse {host}:{port}: {e.verify_message}", "mend the server's certificate first")
        except OSError as e:
            fail(f"{host}:{port} did not shake hands a second time: {_reason(e)}")


# How it is shown


def _facts(certificate: x509.Certificate) -> dict[str, str]:
    return {
        "subject": certificate.subject.rfc4514_string(),
        "not_after": certificate.not_valid_after_utc.isoformat(),
        "key": _key(certificate),
        "sha256": _fingerprint(certificate),
    }


def _text(certificate: x509.Certificate) -> str:
    # No table: it would cut a fingerprint to the terminal's width.
    facts = _facts(certificate)
    rows = {
        "CA": facts["subject"],
        "valid to": facts["not_after"][:10],
        "key": facts["key"],
        "SHA-256": facts["sha256"],
    }
    return "\n".join(f"  {title:10}{escape(text)}" for title, text in rows.items())


def _key(certificate: x509.Certificate) -> str:
    key = certificate.public_key()
    if isinstance(key, ec.EllipticCurvePublicKey):
        return f"EC {key.curve.name}"
    if isinstance(key, rsa.RSAPublicKey):
        slow = " (each handshake takes a board longer than with EC)" if key.key_size >= _MANY_BITS else ""
        return f"RSA {key.key_size}{slow}"
    return type(key).__name__


def _fingerprint(certificate: x509.Certificate) -> str:
    return certificate.fingerprint(hashes.SHA256()).hex(":").upper()


def _is_ip(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def _reason(error: Exception) -> str:
    if isinstance(error, SSL.Error) and error.args and isinstance(error.args[0], list) and error.args[0]:
        return str(error.args[0][0][-1])
    return str(
        getattr(error, "reason", None) or getattr(error, "strerror", None) or error or "it closed the connection"
    )
