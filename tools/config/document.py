"""config.json as a document: read, checked by the firmware's own rules, changed, and written for its owner only."""

from __future__ import annotations

import codecs
import copy
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..console import fail
from ..private import write_private
from .fields import FIELDS, rules

_UTF8 = "save it as UTF-8 without BOM; `firstboot config write` does so"
_CA = "; `firstboot ca` fetches it from the server"

Document = dict[str, Any]


@dataclass(frozen=True)
class Problem:
    """What is wrong with one field, in the firmware's words; `field` is "config" for the document as a whole."""

    field: str
    message: str

    def __str__(self) -> str:
        return f"{self.field} {self.message}"


def parse(data: bytes) -> Any:
    """The document in these bytes, which a board wants in UTF-8 without a byte order mark; ValueError."""
    return json.loads(data.decode())  # given bytes, Python takes UTF-16 and a mark as well


def read(path: Path, *, mends: bool = False) -> Document:
    """The parsed config in the file `path`; Failed names the file.

    `mends`: the file will be written anew, and may be in any UTF until then.
    """
    try:
        data = path.read_bytes()
        if data.startswith(codecs.BOM_UTF8) and not mends:
            fail(f"{path} begins with a byte order mark, which a board refuses", _UTF8)
        document = json.loads(data) if mends else parse(data)
    except FileNotFoundError:
        fail(f"there is no {path}", "write one with `firstboot config write`")
    except OSError as e:
        fail(f"{path} can't be read: {e.strerror}")
    except json.JSONDecodeError as e:
        fail(f"{path} is not JSON: {e.msg} in line {e.lineno}, column {e.colno}", line=e.lineno)
    except (ValueError, RecursionError):
        fail(f"{path} is not JSON in UTF-8", _UTF8)
    return document


def problems(document: Any) -> list[Problem]:
    """All that a board would refuse in the document, one after the other; empty: it would start."""
    found: list[Problem] = []
    document = copy.deepcopy(document)
    while True:
        try:
            rules.check(copy.deepcopy(document))
        except ValueError as e:
            problem = Problem(*e.args)
            if problem.field in [other.field for other in found] or problem.field == "config":
                return found or [problem]
            found.append(problem)
            _mend(document, problem.field)
        else:
            return found


def _mend(document: Document, name: str) -> None:
    # The board stops at the first field that is wrong; so that the rest is looked at too, this one gets out of its way.
    put(document, name, None)
    field = FIELDS.get(name)
    if field and (field.default is ... or field.default is None):
        put(document, name, int(field.least) if field.kind in "in" else "x" * max(1, int(field.least)))


def checked(document: Any, path: Path | str = "config.json") -> dict[str, Any]:
    """The flat config that a board makes of the document, defaults filled in; Failed names the fields."""
    found = problems(document)
    if found:
        fail(
            "\n".join([f"a board would refuse {path}:", *map(str, found)]),
            "`firstboot config fields` explains each field",
            field=found[0].field,
            errors=[{"field": p.field, "message": p.message} for p in found],
        )
    return dict(rules.check(copy.deepcopy(document)))


def get(document: Document, name: str) -> Any:
    """The value of a field as given; None where it is not."""
    section, _, member = name.partition(".")
    value = document.get(section)
    if not member:
        return value
    if name in document:  # the board takes "wifi.ssid" in one word too
        return document[name]
    return value.get(member) if isinstance(value, dict) else None


def put(document: Document, name: str, value: Any) -> None:
    """Set a field, or take it out with None."""
    section, _, member = name.partition(".")
    place = document
    if member:
        document.pop(name, None)
        if not isinstance(document.get(section), dict):
            document[section] = {}
        place = document[section]
    place[member or section] = value
    if value is None:
        del place[member or section]
    if member and not place:
        del document[section]


def write(document: Document, path: Path) -> None:
    """Replace the file `path`, or what it is a link to, in one go, readable by its owner only."""
    ordered: Document = {}
    for name in FIELDS:
        value = get(document, name)
        if value is not None:
            put(ordered, name, value)
    text = json.dumps(ordered, indent=2, ensure_ascii=False) + "\n"
    try:
        write_private(path, text.encode())
    except OSError as e:
        fail(f"{path} can't be written: {e.strerror}")


def named_files(config: dict[str, Any]) -> dict[str, str]:
    """Field -> file below the root of the board's flash, of the files that a board with the flat `config` opens."""
    fields = ["tls.ca"] if config["tls.enabled"] and config["tls.verify"] else []
    fields += ["x509.cert", "x509.key"] if config["credentials"] == "chain" else []
    return {field: config[field].lstrip("/") for field in fields}


def bundle(path: Path) -> dict[str, bytes]:
    """What goes onto the board's flash because of the config at `path`: itself, and the files that it names.

    Those are looked for beside it. Failed when a board would refuse the config, or one of them is not there.
    """
    config = checked(read(path), path)
    files = {"/config.json": path.read_bytes()}
    has_cert = (path.parent / config["x509.cert"].lstrip("/")).exists()
    for field, place in named_files(config).items():
        if field.startswith("x509.") and not has_cert:
            continue  # they come later: the board makes its key, and a request
        try:
            data = (path.parent / place).read_bytes()
        except OSError:
            fail(
                f"{field}: there is no {place} beside {path}",
                "the board needs it" + _CA * (field == "tls.ca"),
                field=field,
            )
        if data[:1] != b"\x30":  # a DER sequence
            fail(f"{field}: {place} is not DER", "`openssl x509 -outform der` turns PEM into it", field=field)
        files[f"/{place}"] = data
    return files
