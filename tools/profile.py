"""`firstboot profile`: ThingsBoard's device profiles, by whose keys boards provision themselves."""

from __future__ import annotations

import secrets
import shlex
from pathlib import Path
from typing import Annotated, Any

import typer

from .console import Failed, Json, err, fail, print_json, print_table
from .thingsboard import SERVER, USER, Ca, Server, User, connected, named, pages

app = typer.Typer(no_args_is_help=True, help="Make and show device profiles, with their provision keys.")

# What the command calls them: what ThingsBoard does.
STRATEGIES = {
    "create": "ALLOW_CREATE_NEW_DEVICES",
    "check": "CHECK_PRE_PROVISIONED_DEVICES",
    "chain": "X509_CERTIFICATE_CHAIN",
    "disabled": "DISABLED",
}


@app.command()
def create(
    name: Annotated[str, typer.Argument(help="The profile's name.")],
    strategy: Annotated[
        str, typer.Option(help="create: boards create their devices; check: devices are there before; chain: X.509.")
    ] = "create",
    key: Annotated[str, typer.Option(help="Provision device key; made at random if not given.")] = "",
    secret: Annotated[
        str,
        typer.Option(help="Provision device secret; made at random if not given.", envvar="FIRSTBOOT_PROVISION_SECRET"),
    ] = "",
    certificate: Annotated[Path | None, typer.Option(help="chain: the CA's certificate in PEM.")] = None,
    pattern: Annotated[str, typer.Option(help="chain: what of the common name is the device's name.")] = "(.+)",
    into: Annotated[Path | None, typer.Option(help="A config to put key and secret into.")] = None,
    server: Server = SERVER,
    user: User = USER,
    ca: Ca = None,
    as_json: Json = False,
) -> None:
    """Make a device profile by which boards provision themselves, and print its key and secret.

    firstboot profile create boards --into config.json
    firstboot profile create boards --server https://tb.example.org --strategy check
    firstboot profile create boards --strategy chain --certificate ca.pem
    """
    if strategy not in STRATEGIES:
        raise typer.BadParameter(f"one of {', '.join(STRATEGIES)}", param_hint="--strategy")
    if (strategy == "chain") != bool(certificate):
        raise typer.BadParameter("strategy chain, and no other, needs the CA's certificate", param_hint="--certificate")
    if strategy in ("create", "check"):
        key = key or secrets.token_hex(10)
        secret = secret or secrets.token_hex(10)
    elif into:
        raise typer.BadParameter(f"strategy {strategy} has no key and secret", param_hint="--into")
    config = _read(into)
    document = _document(name, STRATEGIES[strategy], key, secret)
    if certificate:
        _chain(document, certificate, pattern)
    with connected(server, user, ca) as client:
        if named(client.get_device_profiles, name):
            fail(f"there is a device profile {name!r} already", f"`firstboot profile show {name}` shows its keys")
        made = _described(client.save_device_profile(document))
    if into:
        try:
            _write(config, into, key, secret)
        except Failed as e:
            again = f"firstboot profile show {shlex.quote(name)} --into {into}"
            raise Failed(f"the profile is made, but {e}", again) from e
    if as_json:
        print_json(made)
    else:
        _show([made])
        if into:
            err().print(f"[dim]key and secret are in {into}[/]")


@app.command("list")
def list_profiles(server: Server = SERVER, user: User = USER, ca: Ca = None, as_json: Json = False) -> None:
    """List the device profiles. Secrets are shown by `show` only.

    firstboot profile list --server https://tb.example.org
    """
    with connected(server, user, ca) as client:
        found = [_described(profile) for profile in pages(client.get_device_profiles)]
    for one in found:
        one["secret"] = "***" if one["secret"] else None
    if as_json:
        print_json(found)
    else:
        _show(found)


@app.command()
def show(
    name: Annotated[str, typer.Argument(help="The profile's name.")],
    into: Annotated[Path | None, typer.Option(help="A config to put key and secret into.")] = None,
    server: Server = SERVER,
    user: User = USER,
    ca: Ca = None,
    as_json: Json = False,
) -> None:
    """Show a device profile with its provision key and secret.

    firstboot profile show boards --into config.json
    """
    config = _read(into)
    with connected(server, user, ca) as client:
        profile = named(client.get_device_profiles, name)
        if not profile:
            fail(f"there is no device profile {name!r}", "`firstboot profile list` lists them")
        found = _described(profile)
    if into and not (found["key"] and found["secret"]):
        fail(f"{name!r} has no provision key and secret", f"its strategy is {found['strategy']}")
    if into:
        _write(config, into, found["key"], found["secret"])
    if as_json:
        print_json(found)
    else:
        _show([found])
        if into:
            err().print(f"[dim]key and secret are in {into}[/]")


def _document(name: str, strategy: str, key: str, secret: str) -> dict[str, Any]:
    return {
        "name": name,
        "type": "DEFAULT",
        "transportType": "DEFAULT",
        "provisionType": strategy,
        "provisionDeviceKey": key or None,
        "profileData": {
            "configuration": {"type": "DEFAULT"},
            "transportConfiguration": {"type": "DEFAULT"},
            "provisionConfiguration": {"type": strategy, "provisionDeviceSecret": secret or None},
        },
    }


def _chain(document: dict[str, Any], certificate: Path, pattern: str) -> None:
    # The server makes the key from the certificate itself.
    try:
        text = certificate.read_text("ascii")
    except (OSError, UnicodeDecodeError) as e:
        fail(f"{certificate} can't be read as PEM: {e}")
    if "BEGIN CERTIFICATE" not in text:
        fail(f"{certificate} holds no certificate in PEM")
    document["profileData"]["provisionConfiguration"].update(
        provisionDeviceSecret=text, certificateRegExPattern=pattern, allowCreateNewDevicesByX509Certificate=True
    )


def _described(profile: Any) -> dict[str, Any]:
    configuration = getattr(profile.profile_data, "provision_configuration", None)
    names = {theirs: ours for ours, theirs in STRATEGIES.items()}
    return {
        "name": profile.name,
        "id": profile.id.id,
        "strategy": names.get(profile.provision_type or "DISABLED", profile.provision_type),
        "key": profile.provision_device_key,
        "secret": getattr(configuration, "provision_device_secret", None),
    }


def _read(into: Path | None) -> dict[str, Any]:
    from .config import read

    if into is None:
        return {}
    if not into.parent.is_dir():
        fail(f"there is no folder {into.parent}", "--into is a config in a folder that is there")
    if not into.exists():
        return {}
    document = read(into, mends=True)
    if not isinstance(document, dict):
        fail(f"{into} is not a config")
    return document


def _write(config: dict[str, Any], into: Path, key: str, secret: str) -> None:
    from .config import put, write

    put(config, "provision.key", key)
    put(config, "provision.secret", secret)
    write(config, into)


def _show(found: list[dict[str, Any]]) -> None:
    from rich.markup import escape

    rows = []
    for one in found:
        secret = (one["secret"] or "").strip()
        shown = secret if "\n" not in secret else "(the CA's certificate)"
        rows.append((f"[bold]{escape(one['name'])}[/]", one["strategy"], escape(one["key"] or ""), escape(shown)))
    print_table(("profile", "strategy", "provision key", "provision secret"), rows)
