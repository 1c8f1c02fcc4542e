"""ThingsBoard's REST API through its official client, with errors that say what to do."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import ssl
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any
from urllib.parse import urlsplit

import typer

from .console import ask_secret, fail

if TYPE_CHECKING:
    from tb_rest_client.rest_client import RestClient

_TIMEOUT = (10, 120)  # seconds to connect and to answer; a bulk import answers when it is done
PAGE = 100

_PANEL = "ThingsBoard"
_USER_HELP = "A tenant administrator. The password is asked for or in FIRSTBOOT_PASSWORD; FIRSTBOOT_API_KEY goes first."
Server = Annotated[
    str,
    typer.Option("--server", envvar="FIRSTBOOT_SERVER", help="Address of its web page.", rich_help_panel=_PANEL),
]
User = Annotated[
    str,
    typer.Option("--user", envvar="FIRSTBOOT_USER", help=_USER_HELP, rich_help_panel=_PANEL),
]
Ca = Annotated[
    Path | None,
    typer.Option("--ca", help="The server's CA in PEM, where it is none of the well-known.", rich_help_panel=_PANEL),
]
SERVER, USER = "http://localhost:8080", "tenant@thingsboard.org"


@contextlib.contextmanager
def connected(server: str, user: str, ca: Path | None) -> Iterator[RestClient]:
    """Signed in at `server`, with FIRSTBOOT_PASSWORD, FIRSTBOOT_API_KEY, or a password that is asked for.

    What goes wrong in the block is told as Failed.
    """
    import requests
    from tb_rest_client.rest import ApiException
    from tb_rest_client.rest_client import RestClient
    from urllib3.exceptions import HTTPError

    _check(server, ca)
    try:
        client = RestClient(server.rstrip("/"), timeout=_TIMEOUT)
        _quiet()
        if ca:
            client.configuration.ssl_ca_cert = client.configuration.verify_ssl = str(ca)
        _sign_in(client, user)
        yield client
    except ApiException as e:
        _refused(e.status, e.body)
    except requests.JSONDecodeError:
        fail(f"{server} answers, but not as ThingsBoard does", "is this the address of its web page?")
    except requests.exceptions.SSLError as e:
        hint = "is it http:// there, or is TLS on another port?"
        if isinstance(_innermost(e), ssl.SSLCertVerificationError):
            hint = "give the server's CA with --ca" if ca is None else f"is {ca} the CA of this server?"
        fail(f"{server}: TLS: {_reason(e)}", hint)
    except (requests.RequestException, HTTPError, OSError) as e:
        fail(f"{server} can't be reached: {_reason(e)}", "look at --server, or FIRSTBOOT_SERVER")


def _check(server: str, ca: Path | None) -> None:
    try:
        address = urlsplit(server if "://" in server else f"http://{server}")
        is_good = address.scheme in ("http", "https") and bool(address.hostname) and address.port != 0
    except ValueError:
        is_good = False
    if not is_good:
        fail(f"--server {server}: not the address of a web page", "such as https://tb.example.org")
    if ca:
        try:
            ca.read_bytes()  # tells more of what is wrong with the file than OpenSSL does
            ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(ca)
        except ssl.SSLError:
            fail(f"--ca {ca}: holds no certificate in PEM", "a file that begins with -----BEGIN CERTIFICATE-----")
        except OSError as e:
            fail(f"--ca {ca} can't be read: {e.strerror}")


def _sign_in(client: RestClient, user: str) -> None:
    key = os.environ.get("FIRSTBOOT_API_KEY")
    if key:
        client.api_key_login(key)
        return
    password = os.environ.get("FIRSTBOOT_PASSWORD")
    if password is None:
        password = ask_secret(f"password of {user}", "give it in FIRSTBOOT_PASSWORD, or a key in FIRSTBOOT_API_KEY")
    client.login(user, password)
    if not client.get_token():
        fail(
            f"ThingsBoard does not let {user} in: the user or the password is wrong",
            "look at --user and FIRSTBOOT_PASSWORD",
        )


def _quiet() -> None:
    # The client sets up logging of its own, and urllib3 then tells of every try.
    for name in ("urllib3", "tb_rest_client"):
        logging.getLogger(name).setLevel(logging.CRITICAL)


def _refused(status: int, body: bytes | str | None) -> None:
    try:
        message = json.loads(body or b"")["message"]
    except (ValueError, KeyError, TypeError):
        message = "it gives no reason"
    hint = {
        401: "sign in as a tenant administrator",
        403: "sign in as a tenant administrator",
        404: "is this the address of ThingsBoard's web page, and not of a device transport?",
        429: "its rate limit is reached: try again in a minute",
    }.get(status, "")
    fail(f"ThingsBoard refuses ({status}): {message}", hint, status=status)


def _innermost(error: BaseException) -> BaseException:
    # Both libraries wrap what the socket said in several layers.
    while True:
        wrapped = (getattr(error, "reason", None), *error.args, error.__cause__, error.__context__)
        inner = next((one for one in wrapped if isinstance(one, BaseException)), None)
        if inner is None:
            return error
        error = inner


def _reason(error: Exception) -> str:
    inner = _innermost(error)
    if isinstance(inner, ssl.SSLCertVerificationError):
        return inner.verify_message
    if isinstance(inner, ssl.SSLError):
        return (inner.reason or "the handshake failed").lower().replace("_", " ")
    if isinstance(inner, TimeoutError):
        return "no answer in time"
    if isinstance(inner, ConnectionError) and not inner.strerror:
        return "it closed the connection"
    return (getattr(inner, "strerror", None) or str(inner)).lower()


def pages(ask: Any, **more: Any) -> Iterator[Any]:
    """The entities of all pages of a method of the client that has `page_size` and `page`."""
    number = 0
    while True:
        page = ask(page_size=PAGE, page=number, **more)
        yield from page.data
        if not page.has_next:
            return
        number += 1


def named(ask: Any, name: str) -> Any:
    """The entity of this name, of a method of the client as for pages(); None when there is none."""
    return next((found for found in pages(ask, text_search=name) if found.name == name), None)
