"""`firstboot keys`: a CA for a fleet, and certificates for its boards (credentials "chain")."""

from __future__ import annotations

import sys
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer
from cryptography import x509
from rich.markup import escape
from rich.progress import track

from ..console import Json, ask_secret, err, fail, out, print_json
from ..files import read_bytes
from .authority import INTERMEDIATE, ROOT, ROOT_KEY, Authority, Issued, KeysError, make_authority, read_requests
from .authority import requested as check_request

app = typer.Typer(no_args_is_help=True, help="Make a CA, and issue the certificates of boards.")

# One group around the device's name; ThingsBoard takes what it matches in the leaf's common name.
PATTERN = "(.*)"


@app.command()
def ca(
    folder: Annotated[Path, typer.Argument(help="Where the intermediate CA goes, which issues boards' certificates.")],
    root: Annotated[
        Path | None, typer.Option(help="Where the root is, or is made. Default: FOLDER/root. Keep it offline.")
    ] = None,
    name: Annotated[str, typer.Option(help="Whose CA it is, for the certificates' names.")] = "firstboot",
    years: Annotated[int, typer.Option(min=1, max=50, help="How long the intermediate is valid.")] = 10,
    encrypt: Annotated[bool, typer.Option("--encrypt", help="Ask for a passphrase for the root's key.")] = False,
    as_json: Json = False,
) -> None:
    """Make a root and an intermediate CA; with a root that is there already, another intermediate.

    firstboot keys ca fleet --name Acme --encrypt
    firstboot keys ca fleet-2 --root fleet/root --encrypt
    """
    root = root or folder / "root"
    password = None
    if encrypt:
        is_new = not (root / ROOT_KEY).exists()
        password = ask_secret(
            "passphrase of the root's key", "run it at a terminal: it is typed in only", confirmation_prompt=is_new
        )
    try:
        made = make_authority(folder, root, name, years, password.encode() if password else None)
    except KeysError as e:
        fail(str(e), e.hint)
    except OSError as e:
        fail(f"{e.filename}: {e.strerror}")
    profile = folder / INTERMEDIATE
    result = {
        "root": str(root / ROOT),
        "root_key": str(root / ROOT_KEY),
        "profile_certificate": str(profile),
        "provision_key": made.provision_key,
        "pattern": PATTERN,
        "not_after": made.certificate.not_valid_after_utc.isoformat(),
    }
    if as_json:
        print_json(result)
        return
    console = out()
    console.print(f"[green]made[/] the intermediate CA in {escape(str(folder))}, valid to {result['not_after'][:10]}")
    console.print(f"[yellow]take[/] {escape(str(root))} offline: it is needed for the next intermediate only")
    console.print("In ThingsBoard: device profile, Device provisioning, strategy X.509 Certificates Chain")
    console.print(f"  certificate          the content of {escape(str(profile))}")
    console.print(f"  CN pattern           {PATTERN}")
    console.print("  create new devices   on, or add the devices beforehand")


@app.command()
def issue(
    folder: Annotated[Path, typer.Argument(help="The folder of `firstboot keys ca`.")],
    names: Annotated[list[str] | None, typer.Argument(help="Device names; each gets a key and a certificate.")] = None,
    file: Annotated[Path | None, typer.Option("--names", help="A file with a device name in each line.")] = None,
    requests: Annotated[
        list[Path] | None, typer.Option("--request", help="A file with requests (PEM) that boards printed.")
    ] = None,
    to: Annotated[Path | None, typer.Option("--out", help="Where NAME/cert.der goes. Default: FOLDER/boards.")] = None,
    days: Annotated[int, typer.Option(min=1, max=36500, help="How long the certificates are valid.")] = 3650,
    as_json: Json = False,
) -> None:
    """Issue certificates: cert.der (leaf and intermediate), and key.der unless the board made the key itself.

    Everything is checked before the first file is written. No file is ever written over.

    firstboot keys issue fleet press-17 press-18
    firstboot keys issue fleet --names names.txt --out boards
    firstboot keys issue fleet --request serial.log
    """
    place = to or folder / "boards"
    try:
        authority = Authority(folder)
        work = _work(authority, place, [*(names or []), *_lines(file)], requests or [])
        issued = []
        for one in track(work, "issuing", console=err(), transient=True, disable=as_json):
            if isinstance(one, str):
                issued.append(authority.issue(place, one, days))
            else:
                issued.append(authority.sign(place, one, days))
    except KeysError as e:
        fail(str(e), e.hint)
    except OSError as e:
        fail(f"{e.filename}: {e.strerror}")
    _tell(issued, as_json)


def _lines(file: Path | None) -> list[str]:
    if file is None:
        return []
    try:
        lines = file.read_text(encoding="utf-8-sig").splitlines()
    except OSError as e:
        fail(f"--names {file} can't be read: {e.strerror}", "it wants a text file with a device name in each line")
    except UnicodeDecodeError:
        fail(f"--names {file} is not text in UTF-8", "it wants a device name in each line")
    return [line.strip() for line in lines if line.strip() and not line.startswith("#")]


def _work(
    authority: Authority, place: Path, names: list[str], files: list[Path]
) -> list[str | x509.CertificateSigningRequest]:
    # The whole list, checked: none of it is bound to fail half-way.
    work: list[str | x509.CertificateSigningRequest] = list(names)
    for file in files:
        try:
            found = read_requests(read_bytes(file).decode(errors="replace"))
        except KeysError as e:
            fail(f"{file}: {e}", "let the board print it again: firstboot.x509.request()")
        if not found:
            fail(
                f"{file} has no request in it: no -----BEGIN CERTIFICATE REQUEST-----",
                "a board prints one: firstboot.x509.request()",
            )
        work += found
    if not work:
        fail("no device names and no requests", "name devices, or give --names or --request")
    taken = set()
    for one in work:
        name = one if isinstance(one, str) else check_request(one)[0]
        if name in taken:
            raise KeysError(f"{name} is there twice")
        taken.add(name)
        authority.place(place, name)
    return work


def _tell(issued: list[Issued], as_json: bool) -> None:
    if as_json:
        documents: list[dict[str, Any]] = [{**asdict(one), "folder": str(one.folder)} for one in issued]
        print_json({"issued": documents})
        return
    console = out()
    for one in issued[:20]:
        console.print(f"{escape(one.name)}  valid to {one.not_after[:10]}  {escape(str(one.folder))}")
    if len(issued) > 20:
        console.print(f"... and {len(issued) - 20} more")
    console.print(f"[green]{len(issued)} issued[/]; put cert.der, and key.der if it is there, onto the board")


if __name__ == "__main__":
    from ..cli import app as program

    program(["keys", *sys.argv[1:]], prog_name="python -m tools.cli")
