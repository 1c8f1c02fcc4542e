# Provisioning requests and answers as bytes: pure functions, used during the first boot only.
# MIT licence, (c) 2026 the firstboot authors.
#
# Credentials are a dict: {"credentialsType": "ACCESS_TOKEN", "token"}, {"credentialsType": "MQTT_BASIC",
# "clientId", "username", "password"} (None where a member is not set) or {"credentialsType":
# "X509_CERTIFICATE", "certificate"} (base64 of the DER on one line; our own also carries "key"), or instead
# {..., "files"}, which names those of a certificate with its chain and of its key. "next": others to take their place.

import json
from micropython import const

from . import errand

_UNSET = (None, "")
_MOST = const(8192)  # bytes of an answer; a certificate of RSA-4096 in base64 stays below 3 KiB


def request(key, secret, name, credentials):
    """The provisioning request (bytes of JSON) for device `name`.

    `credentials`: the board's own, or None to have the server make some. The name is always sent: with
    an omitted name every retry makes another device (contract 4.5).
    """
    doc = {"deviceName": name, "provisionDeviceKey": key, "provisionDeviceSecret": secret}
    if credentials:
        for member in credentials:
            # An explicit null is an error to the server, never "absent" (contract 4.3).
            if member not in ("key", "next") and credentials[member] is not None:
                doc["hash" if member == "certificate" else member] = credentials[member]
    return json.dumps(doc).encode()


def answer(data):
    """What the answer `data` (bytes) says: (status, credentials); these are None unless the status is SUCCESS.

    Reads ThingsBoard's present form and those of the releases before 3.2 (contract 4.4 and 11). ValueError, with
    the reason in one word, when nothing can be believed.
    """
    if len(data) > _MOST:
        raise ValueError("too_large")
    if data == b"\x08\x02":
        return "NOT_FOUND", None  # protobuf, the server's reply to an empty request (contract 4.2)
    doc = errand("json_strict", "loads", data)
    if not isinstance(doc, dict):
        raise ValueError("not_object")
    status = doc.get("status", doc.get("provisionDeviceStatus"))
    if not isinstance(status, str):
        raise ValueError("no_status")
    if doc.get("provisionDeviceStatus", status) != status:
        raise ValueError("ambiguous")
    if status in ("NOT_FOUND", "FAILURE"):
        return status, None
    if status != "SUCCESS":
        raise ValueError("unknown_status")
    return status, _credentials(doc, doc.get("credentialsType"))


def _credentials(doc, kind):
    value = doc.get("credentialsValue")
    if kind == "MQTT_BASIC":
        return _basic(value)
    if kind == "ACCESS_TOKEN":
        member = "token"
        for name in ("accessToken", "credentialsId"):
            if value in _UNSET:
                value = doc.get(name)
    elif kind == "X509_CERTIFICATE":
        member = "certificate"
    else:
        raise ValueError("unsupported_type" if kind == "LWM2M_CREDENTIALS" else "unknown_type")
    if value in _UNSET:
        raise ValueError("no_value")
    return {"credentialsType": kind, member: _text(value)}


def _basic(value):
    if isinstance(value, str):  # before 3.2 the object came as text
        try:
            value = json.loads(value)
        except (ValueError, RuntimeError):
            raise ValueError("wrong_value_type")
    if value is None:
        raise ValueError("no_value")
    if not isinstance(value, dict):
        raise ValueError("wrong_value_type")
    client, user, password = [_text(value.get(m)) for m in ("clientId", "userName", "password")]
    # What the server itself can match (contract 4.5): an id, and a password only beside a user name.
    if not (client or user) or password and not user:
        raise ValueError("incomplete")
    return {"credentialsType": "MQTT_BASIC", "clientId": client, "username": user, "password": password}


def _text(value):
    if value in _UNSET:
        return None
    if not isinstance(value, str):
        raise ValueError("wrong_value_type")
    try:
        data = value.encode()  # its bytes: each character of a str that is looked at becomes a name, for ever
    except ValueError:
        data = b"\x00"
    for i in range(len(data)):
        # Half a surrogate pair is no character: MicroPython would send it, and the server close on it.
        if data[i] < 32 or data[i] == 127 or data[i] == 0xED and data[i + 1] >= 0xA0:
            raise ValueError("bad_characters")
    return value
