"""`firstboot update`: a new app or firmware for boards in the field, by ThingsBoard's OTA packages."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from . import update_server
from .console import Json, err, fail, out, print_json, print_table
from .files import read_bytes
from .thingsboard import SERVER, USER, Ca, Server, User, connected, pages
from .update_pack import archive, check_firmware, check_software, packed

app = typer.Typer(no_args_is_help=True, help="Send boards in the field a new app or firmware, and follow it.")

_CHECKSUMS = ("SHA256", "MD5", "CRC32")  # those that boards know


@app.command()
def pack(
    files: Annotated[list[Path], typer.Argument(help="app.py, and the files and folders that go with it.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="The package to write.")] = Path("update.tar"),
    source: Annotated[bool, typer.Option("--source", help="Leave .py as they are; else they are compiled.")] = False,
    as_json: Json = False,
) -> None:
    """Make a software package of your app: what boards download and then run.

    A file goes to the package's root, where a board looks for modules first, a folder keeps its name. firstboot itself
    can't be in it: it comes with the firmware.

    firstboot update pack app.py
    firstboot update pack app.py drivers -o app-1.3.tar
    """
    from .vm import VmError

    try:
        found = packed(files, source=source, without=output)
    except VmError as e:
        fail(f"the files can't be compiled: {e}")
    data = archive(found)
    try:
        output.write_bytes(data)
    except OSError as e:
        fail(f"{output} can't be written: {e.strerror}")
    if as_json:
        listed = [{"name": name, "size": len(found[name])} for name in sorted(found)]
        print_json({"path": str(output), "size": len(data), "files": listed})
        return
    for name in sorted(found):
        out().print(f"{len(found[name]):8}  {name}", markup=False)
    out().print(f"[bold]{output}[/]: {len(data)} bytes")


@app.command()
def push(
    file: Annotated[Path, typer.Argument(help="A package of `firstboot update pack`, or an ESP32's firmware.")],
    title: Annotated[str, typer.Option(help="The package's title; boards know by it what it is of.")],
    version: Annotated[str, typer.Option(help="Its version: one that the title has not had yet.")],
    profile: Annotated[str, typer.Option(help="The device profile whose boards are to have it.")],
    kind: Annotated[str, typer.Option(help="sw: the app; fw: MicroPython with firstboot in it.")] = "sw",
    device: Annotated[str, typer.Option(help="Only this board of the profile.")] = "",
    tag: Annotated[str, typer.Option(help="A tag, for people.")] = "",
    checksum: Annotated[str, typer.Option(help=f"{', '.join(_CHECKSUMS)}: what boards verify it by.")] = "SHA256",
    server: Server = SERVER,
    user: User = USER,
    ca: Ca = None,
    as_json: Json = False,
) -> None:
    """Upload a package to ThingsBoard, and assign it to a profile's boards or to one of them.

    They fetch it when they next look, every ota.check seconds. Try a new one with --device first.

    firstboot update push update.tar --title app --version 1.3 --profile boards --device ESP32-a0b1c2d3e4f5
    firstboot update push update.tar --title app --version 1.3 --profile boards
    """
    if kind not in update_server.KINDS:
        raise typer.BadParameter("one of sw, fw", param_hint="--kind")
    if checksum not in _CHECKSUMS:
        raise typer.BadParameter(f"one of {', '.join(_CHECKSUMS)}", param_hint="--checksum")
    data = read_bytes(file)
    (check_firmware if kind == "fw" else check_software)(file, data)
    info = {"title": title, "version": version, "type": update_server.KINDS[kind], "tag": tag or None}
    with connected(server, user, ca) as client, err().status(f"sending {len(data)} bytes"):
        owner = found = update_server.find_profile(client, profile)
        if device:
            owner = update_server.find_device(client, device, found)
        package, is_new = update_server.upload(client, file, data, checksum, info, found)
        update_server.assign(client, owner, kind, package)
    if as_json:
        print_json(
            {
                "id": package.id.id,
                "kind": kind,
                "title": title,
                "version": version,
                "size": len(data),
                "checksum_algorithm": package.checksum_algorithm,
                "checksum": package.checksum,
                "uploaded": is_new,
                "profile": profile,
                "device": device or None,
            }
        )
        return
    for_whom = f"the board {device}" if device else f"the boards of {profile}"
    was = "" if is_new else ", which was there,"
    out().print(f"{title} {version}{was} is assigned to {for_whom}", markup=False)
    err().print("[dim]`firstboot update show` tells how they get on[/]")


@app.command()
def show(
    profile: Annotated[str, typer.Option(help="Only this profile's boards.")] = "",
    device: Annotated[str, typer.Option(help="Only this board.")] = "",
    server: Server = SERVER,
    user: User = USER,
    ca: Ca = None,
    as_json: Json = False,
) -> None:
    """List the packages, and what each board runs and last said of its update.

    firstboot update show --profile boards
    """
    from rich.progress import track

    with connected(server, user, ca) as client:
        if profile:
            update_server.find_profile(client, profile)
        packages = update_server.packages(client)
        wanted = {"type": profile} if profile else {}
        found = [one for one in pages(client.get_tenant_devices, **wanted) if not device or one.name == device]
        if device and not found:
            fail(f"there is no device {device!r}" + (f" of the profile {profile!r}" if profile else ""))
        told = update_server.states(client, found)
        boards = list(track(told, "asking", len(found), console=err(), transient=True, disable=len(found) < 20))
    if as_json:
        print_json({"packages": packages, "devices": boards})
        return
    _show_packages(packages)
    out().print()
    _show_boards(boards)


def _show_packages(packages: list[dict[str, Any]]) -> None:
    rows: list[tuple[str, ...]] = [
        (
            one["kind"],
            f"{one['title']} {one['version']}",
            one["tag"] or "",
            (one["profile"] or "") + (" (assigned)" if one["assigned"] else ""),
            one["url"] or ("" if one["size"] is None else f"{one['size']} bytes"),
        )
        for one in packages
    ]
    _table(("kind", "package", "tag", "for", "content"), rows)


def _show_boards(boards: list[dict[str, Any]]) -> None:
    rows: list[tuple[str, ...]] = []
    for one in boards:
        states = [(kind, one[kind]) for kind in update_server.KINDS if one[kind]]
        for kind, state in states or [("", {})]:
            runs, target = (
                " ".join(filter(None, (state.get(f"{which}title"), state.get(f"{which}version"))))
                for which in ("", "target_")
            )
            rows.append((one["name"], kind, runs, target, state.get("state") or "", state.get("error") or ""))
    _table(("board", "kind", "runs", "is to run", "state", "error"), rows)


def _table(titles: tuple[str, ...], rows: list[tuple[str, ...]]) -> None:
    from rich.markup import escape

    print_table(titles, [[escape(cell) for cell in row] for row in rows])
