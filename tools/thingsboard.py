"""ThingsBoard's REST API through its official client, with errors that say what to do."""

from __future__ import annotations

import contextlib
import json
import logging
import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

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
        fail(f"{server}: TLS: {_reason(e)}", "give the server's CA with --ca")
    except (requests.RequestException, HTTPError, OSError) as e:
        fail(f"{server} can't be reached: {_reason(e)}", "look at --server, or FIRSTBOOT_SERVER")


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


def _reason(error: Exception) -> str:
    # Both libraries wrap the reason in several layers, the last of which is one line for people.
    while True:
        inner = getattr(error, "reason", None) or (error.args[0] if error.args else None)
        if not isinstance(inner, Exception):
            break
        error = inner
    text = str(getattr(error, "strerror", None) or error)
    return text.rpartition(": ")[2].removeprefix("[Errno 111] ").lower() or type(error).__name__


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
