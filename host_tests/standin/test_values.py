"""What becomes of telemetry and attribute values, by contract 5's tables; no sockets."""

import json

import pytest

from tools.standin import gson, values

BIG = "1" + "0" * 400


@pytest.mark.parametrize(
    ("text", "stored"),
    [
        ("12", 12),
        ("42.0", 42.0),
        ("1E+1", 10),
        ("1.0E2", 100),
        ("9007199254740993e0", 9007199254740993),
        ("-9223372036854775808", -(2**63)),
        ("9223372036854775808", "9223372036854775808"),
        ("1e30", "1" + "0" * 30),
        ("1E400", BIG),
        ("0.1234567890123456", 0.1234567890123456),
        ("0.30000000000000004", "0.30000000000000004"),
        ("1e-17", "0.00000000000000001"),
        (BIG + ".5", BIG + ".5"),
        ("1e99999999999999999999", "1e99999999999999999999"),
        ('"007"', 7),
        ('".5"', 0.5),
        ('"0.30000000000000004"', "0.30000000000000004"),
        ('"1e5"', "1e5"),
        ('"5."', "5."),
        ("1" * 5000, "1" * 5000),
    ],
)
def test_numbers_and_what_looks_like_one(text, stored):
    found = values.typed(gson.parse(text))
    assert (found, type(found)) == (stored, type(stored))


def test_numbers_in_an_object_stay_numbers():
    text = '{"a":0.30000000000000004,"b":[20000000000000000000,1e2],"c":"12","d":-3,"e":%s,"f":0}' % ("1" * 400)
    assert values.typed(gson.parse(text)) == json.loads(text)
    assert values.typed(gson.parse("[1e400,%s]" % ("1" * 5000))) == ["1e400", "1" * 5000]  # no JSON, no integer


@pytest.mark.parametrize(
    ("ts", "stored"), [("15.9", 15), ('"15"', 15), ("1.5E3", 1500), ('"1500000000001"', 1500000000001)]
)
def test_a_time(ts, stored):
    assert values.telemetry(b'{"ts":%s,"values":{"a":1}}' % ts.encode(), 7) == [[("a", stored, 1)]]


@pytest.mark.parametrize(
    "ts",
    ["inf", "nan", "1e400", "-1e400", "1e99999999999999999999", '"1_000"', '" 5"', "true", "null", "[1]", "{}", '""'],
)
def test_what_is_no_time(ts):
    with pytest.raises(values.BadTimestamp):
        values.telemetry(b'{"ts":%s,"values":{"a":1}}' % ts.encode(), 7)
