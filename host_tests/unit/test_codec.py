"""Provisioning requests and answers as bytes, against the contract's vectors."""

import json
from pathlib import Path

import pytest
from firstboot import codec

from tools.standin import provisioning

VECTORS = json.loads((Path(__file__).parent.parent / "data" / "provisioning-vectors.json").read_text("utf-8"))
DOCUMENTS = VECTORS["response_documents"]
KEY, SECRET, NAME = "a key", "a secret", "board-1"


def document(vector):
    """The bytes of a response document."""
    if "json" in vector:
        return json.dumps(vector["json"]).encode()
    if "hex" in vector:
        return bytes.fromhex(vector["hex"])
    if "raw" in vector:
        return vector["raw"].encode()
    made = vector["generated"]
    return (made["prefix"] + made["fill"] * made["count"] + made["suffix"]).encode()


def expanded(credentials):
    """The vector's credentials with generated texts written out."""
    return {k: v["fill"] * v["count"] if isinstance(v, dict) else v for k, v in credentials.items()}


def sent(credentials):
    """The request for these credentials as the server reads it: raw JSON object and parsed request."""
    data = codec.request(KEY, SECRET, NAME, credentials)
    assert isinstance(data, bytes)
    return json.loads(data), provisioning.parse(data)


def test_every_vector_is_here():
    assert len(DOCUMENTS) == 66


@pytest.mark.parametrize("vector", DOCUMENTS, ids=[v["name"] for v in DOCUMENTS])
def test_answer(vector):
    data = document(vector)
    if vector["verdict"] == "accept":
        assert codec.answer(data) == ("SUCCESS", expanded(vector["credentials"]))
    elif vector["verdict"] == "refused":
        assert codec.answer(data) == (vector["reason"], None)
    else:
        with pytest.raises(ValueError) as e:
            codec.answer(data)
        # Which of two reasons comes first is the reader's own business where a document is wrong twice.
        assert e.value.args[0] in (vector["reason"], "not_json")


@pytest.mark.parametrize("cut", range(1, 90))
def test_no_cut_answer_grants_anything(cut):
    data = b'{"status":"SUCCESS","credentialsType":"ACCESS_TOKEN","credentialsValue":"sLzc0gDAZPkGMzFVTy"}'
    with pytest.raises(ValueError):
        codec.answer(data[:-cut])


def nested(depth):
    """A legacy answer whose credentials, a text, are `depth` lists in one another."""
    value = "[" * depth + "]" * depth
    doc = {"provisionDeviceStatus": "SUCCESS", "credentialsType": "MQTT_BASIC", "credentialsValue": value}
    return json.dumps(doc).encode()


def test_deep_nesting_inside_a_text_is_a_bad_answer():
    with pytest.raises(ValueError):
        codec.answer(nested(3000))


def test_half_a_surrogate_pair_is_a_bad_answer():
    data = b'{"status":"SUCCESS","credentialsType":"ACCESS_TOKEN","credentialsValue":"abc\\ud800"}'
    with pytest.raises(ValueError):
        codec.answer(data)


def test_request_without_credentials_has_three_members():
    raw, request = sent(None)
    assert raw == {"deviceName": NAME, "provisionDeviceKey": KEY, "provisionDeviceSecret": SECRET}
    assert (request.type, request.token) == ("ACCESS_TOKEN", None)


def test_request_with_a_token():
    raw, request = sent({"credentialsType": "ACCESS_TOKEN", "token": "t"})
    assert (request.type, request.token, request.name) == ("ACCESS_TOKEN", "t", NAME)
    assert len(raw) == 5


@pytest.mark.parametrize(
    ("client", "user", "password"), [("c", "u", "p"), ("c", "u", None), ("c", None, None), (None, "u", "p")]
)
def test_request_with_mqtt_basic(client, user, password):
    raw, request = sent({"credentialsType": "MQTT_BASIC", "clientId": client, "username": user, "password": password})
    assert request.type == "MQTT_BASIC"
    assert (request.client_id, request.username, request.password) == (client, user, password)
    assert None not in raw.values()  # an explicit null is an error to the server


def test_request_with_a_certificate_sends_it_as_hash_and_keeps_the_key():
    raw, request = sent({"credentialsType": "X509_CERTIFICATE", "certificate": "MIIB", "key": "private"})
    assert (request.type, request.certificate) == ("X509_CERTIFICATE", "MIIB")
    assert raw["hash"] == "MIIB"
    assert "private" not in json.dumps(raw)
    assert not {"key", "certificate"} & set(raw)


def test_request_carries_any_text():
    name = 'quote " backslash \\ umlaut ü cjk 板'
    request = provisioning.parse(codec.request(KEY, SECRET, name, None))
    assert request.name == name


def test_an_answer_to_a_basic_request_can_be_asked_with_again():
    # The answer says userName, the request says username (contract 4.3, 4.4).
    value = {"clientId": "c", "userName": "u", "password": "p"}
    doc = {"status": "SUCCESS", "credentialsType": "MQTT_BASIC", "credentialsValue": value}
    _, credentials = codec.answer(json.dumps(doc).encode())
    _, request = sent(credentials)
    assert (request.client_id, request.username, request.password) == ("c", "u", "p")
