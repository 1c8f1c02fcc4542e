"""Read the system's apt sources: which Debian archive does this machine use, and whose signature does it trust?"""

import os
import re
from dataclasses import dataclass
from pathlib import Path

# Names under which Debian's main archive, and nobody else's, is listed, besides the machine's own code name.
_SUITES = {"stable", "testing", "unstable", "sid", "bookworm", "trixie", "forky"}


@dataclass(frozen=True)
class Archive:
    """A Debian archive: its address, and the keyring that the system names for it (empty: apt's default)."""

    uri: str
    signed_by: str


def archives(etc: Path = Path("/etc")) -> list[Archive]:
    """Debian archives of the apt sources below `etc`, in their order, each once."""
    wanted = _SUITES | {_code_name(etc)}
    found: dict[str, Archive] = {}
    for types, uris, suites, components, signed_by in _entries(etc / "apt"):
        if "deb" in types and "main" in components and wanted & {suite.rstrip("/") for suite in suites}:
            for uri in uris:
                found.setdefault(uri, Archive(uri, signed_by))
    return list(found.values())


def _code_name(etc: Path) -> str:
    try:
        text = (etc / "os-release").read_text()
    except OSError:
        return "stable"
    if not re.search(r"^ID=\"?debian\"?$", text, re.M):
        return "stable"
    match = re.search(r"^VERSION_CODENAME=\"?(\w+)", text, re.M)
    return match.group(1) if match else "stable"


def _entries(apt: Path):
    """(types, uris, suites, components, signed-by) of every enabled entry in either format."""
    for path in [apt / "sources.list", *sorted((apt / "sources.list.d").glob("*"))]:
        try:
            text = path.read_text()
        except OSError:
            continue
        if path.suffix == ".list":
            yield from _one_line(text)
        elif path.suffix == ".sources":
            yield from _deb822(text)


def _one_line(text: str):
    for line in text.splitlines():
        match = re.match(r"\s*(deb)\s+(?:\[([^]]*)\]\s+)?(\S+)\s+(\S+)\s+([^#]+)", line)
        if match:
            kind, options, uri, suite, components = match.groups()
            signed = re.search(r"signed-by=(\S+)", options or "")
            yield [kind], [uri], [suite], components.split(), signed.group(1) if signed else ""


def _deb822(text: str):
    lines = [line for line in text.splitlines() if not line.startswith("#")]
    for stanza in re.split(r"\n\s*\n", "\n".join(lines)):
        unfolded = re.sub(r"\n[ \t]+", " ", stanza)
        fields = {
            key.strip().lower(): value.strip()
            for key, colon, value in (line.partition(":") for line in unfolded.splitlines())
            if colon
        }
        if fields.get("enabled", "yes").lower() in ("no", "false", "0"):
            continue
        signed_by = fields.get("signed-by", "")
        # A key given in full instead of a path can't be handed on in one line; apt's default keyring serves.
        yield (
            fields.get("types", "").split(),
            fields.get("uris", "").split(),
            fields.get("suites", "").split(),
            fields.get("components", "").split(),
            signed_by if os.path.isabs(signed_by) else "",
        )
