"""The contract's vectors: read, loaded into a registry, and compared with what came of them."""

import json
import re
from pathlib import Path

from tools.standin.registry import Credentials, Device, Profile, new_id

VECTORS = json.loads((Path(__file__).resolve().parent.parent / "data" / "provisioning-vectors.json").read_text())
SCALE = 0.02  # the 10 to 21 s of a core that does not answer become 0.2 to 0.42 s
NEWEST, BEFORE_4_2_2 = "4.4", "4.2"  # the stand-in's releases; <=4.2.1 is the only upper bound in these rows


def rows(transport):
    """The provisioning rows of one transport."""
    return [row for row in VECTORS["vectors"] if row["transport"] == transport]


def release_of(row):
    """The stand-in's release that a row is about."""
    return BEFORE_4_2_2 if "<=4.2.1" in row.get("versions", "") else NEWEST


def body_of(request):
    """The bytes that a request carries."""
    raw = request.get("raw")
    return raw.encode() if raw is not None else json.dumps(request["json"]).encode()


def check_state(registry, after, bound):
    """The registry holds what a row wants afterwards."""
    assert [profile_of(p) for p in registry.profiles()] == [known(p) for p in after["profiles"]]
    devices = [device_of(registry, d) for d in registry.devices()]
    assert len(devices) == len(after["devices"])
    for found, wanted in zip(devices, after["devices"], strict=True):
        compare(found, wanted, bound)


def check_delay(expect, seconds, scale=SCALE):
    """`seconds`, measured at this scale, are those of a core that does not answer, or few."""
    delay = expect.get("delay_s")
    assert not delay or seconds >= delay["min"] * scale
    assert seconds < (delay["max"] * scale + 5 if delay else 10)  # 5 s for a loaded machine


def load(registry, state):
    for p in state["profiles"]:
        registry.add_profile(
            Profile(
                p["id"],
                p["tenant"],
                p["name"],
                p["provisionType"],
                p["provisionDeviceKey"],
                p["provisionDeviceSecret"],
                p.get("certificateRegExPattern"),
                p.get("allowCreateNewDevicesByX509Certificate", False),
            )
        )
    for d in state["devices"]:
        c = d["credentials"]
        credentials = Credentials(c["credentialsType"], c["credentialsId"], c["credentialsValue"])
        device = Device(new_id(), d["tenant"], d["profile"], d["name"], credentials, d["gateway"])
        registry.add_device(device)
        registry.set_attributes(device.id, "SERVER_SCOPE", d["serverAttributes"])


def profile_of(p):
    return known(
        {
            "id": p.id,
            "tenant": p.tenant,
            "name": p.name,
            "provisionType": p.strategy,
            "provisionDeviceKey": p.key,
            "provisionDeviceSecret": p.secret,
            "certificateRegExPattern": p.pattern,
            "allowCreateNewDevicesByX509Certificate": p.allow_create,
        }
    )


def known(profile):
    """A profile without the members that are not set."""
    return {name: value for name, value in profile.items() if value or name.startswith("provisionDevice")}


def device_of(registry, d):
    return {
        "tenant": d.tenant,
        "profile": d.profile,
        "name": d.name,
        "gateway": d.gateway,
        "credentials": {
            "credentialsType": d.credentials.type,
            "credentialsId": d.credentials.id,
            "credentialsValue": d.credentials.value,
        },
        "serverAttributes": registry.attributes(d.id, "SERVER_SCOPE"),
    }


def compare_body(body, wanted, bound):
    if wanted is None:
        assert body == b""
    elif "$bytes_hex" in wanted:
        assert body.hex() == wanted["$bytes_hex"]
    else:
        compare(json.loads(body), wanted, bound)


def compare(found, wanted, bound):
    """`found` equals `wanted`, in which {"$re", "$bind"} and {"$ref"} stand for values (the file's conventions)."""
    if not isinstance(wanted, dict):
        assert found == wanted
    elif "$ref" in wanted:
        assert found == bound[wanted["$ref"]]
    elif "$re" in wanted:
        assert re.search(wanted["$re"], found)
        if "$bind" in wanted:
            bound[wanted["$bind"]] = found
    else:
        assert isinstance(found, dict)
        assert set(found) == set(wanted)
        for member, value in wanted.items():
            compare(found[member], value, bound)
