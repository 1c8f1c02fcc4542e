"""The user's handlers: RPC requests and shared attributes, and what may be wrong with either side of them."""

import json
from types import SimpleNamespace

import pytest
from firstboot import loop
from firstboot.inbox import Inbox
from firstboot.link import LinkError, mqtt_subscribe

REQUEST = b"v1/devices/me/rpc/request/"
REPLY = b"v1/devices/me/rpc/response/"
ATTRIBUTES = b"v1/devices/me/attributes"
ANSWER = b"v1/devices/me/attributes/response/1"


class Link:
    """A link that keeps what is published; `fails` has the numbers of the publishes that do."""

    timeout = 1000

    def __init__(self, *fails):
        self.pid = 0
        self.published = []
        self.packets = []
        self.fails = fails
        self.count = 0

    def within(self, ms):
        assert ms == self.timeout

    def publish(self, topic, payload):
        self.count += 1
        if self.count in self.fails:
            raise LinkError("closed")
        self.published.append((bytes(topic), bytes(payload)))

    def write(self, data, start, size):
        self.packets.append(bytes(data[start : start + size]))


class App:
    """An app that notes what it is told; `result` is returned, or raised where it is an exception."""

    def __init__(self, result=None):
        self.result = result
        self.calls = []
        self.values = []

    def on_rpc(self, method, params):
        self.calls.append((method, params))
        if isinstance(self.result, Exception):
            raise self.result
        return self.result

    def on_attributes(self, values):
        self.values.append(values)
        if isinstance(self.result, Exception):
            raise self.result


def rpc(inbox, number, method="set", params=None):
    inbox(REQUEST + b"%d" % number, json.dumps({"method": method, "params": params}).encode())


def test_a_request_is_answered_under_its_number():
    link, app = Link(), App({"ok": True})
    rpc(Inbox(link, app), 7, "relay", [1, "x"])
    assert app.calls == [("relay", [1, "x"])]
    assert link.published == [(REPLY + b"7", b'{"ok": true}')]


def test_a_handler_without_a_result_is_answered_with_null():
    link = Link()
    rpc(Inbox(link, App()), 0)
    assert link.published == [(REPLY + b"0", b"null")]


FAILURES = [ValueError("no such relay"), KeyError("x"), MemoryError(), OSError(5, "EIO")]


@pytest.mark.parametrize("error", FAILURES, ids=[type(e).__name__ for e in FAILURES])
def test_a_failing_handler_is_counted_told_and_answered(error, capsys):
    link = Link()
    inbox = Inbox(link, App(error))
    rpc(inbox, 3)
    assert json.loads(link.published[0][1])["error"].startswith(type(error).__name__)
    assert inbox.errors == 1
    assert "handler failed" in capsys.readouterr().out


def test_what_the_caller_is_told_of_an_exception_is_bounded():
    link = Link()
    rpc(Inbox(link, App(ValueError("x" * 10_000))), 3)
    assert len(link.published[0][1]) < 200


def test_a_result_that_is_no_json_is_the_handlers_failure():
    link = Link()
    rpc(Inbox(link, App({"f": object()})), 3)
    assert "error" in json.loads(link.published[0][1])


def test_a_reply_that_is_too_large_for_the_server_is_an_error_to_the_caller():
    """The server closes on it, and asks again after each reconnect."""
    link = Link()
    rpc(Inbox(link, App("x" * 65_500)), 3)
    assert "65502 bytes" in json.loads(link.published[0][1])["error"]


def test_a_repeat_whose_reply_was_lost_is_answered_and_not_done_again():
    link, app = Link(1), App("done")
    inbox = Inbox(link, app)
    with pytest.raises(LinkError):
        rpc(inbox, 4)
    rpc(inbox, 4)
    assert len(app.calls) == 1
    assert link.published == [(REPLY + b"4", b'"done"')]


def test_numbers_that_start_again_with_the_server_are_new_requests():
    link, app = Link(), App("done")
    inbox = Inbox(link, app)
    for _ in range(2):
        rpc(inbox, 0)
    assert len(app.calls) == 2
    lost = Link(1)
    inbox.link = lost
    with pytest.raises(LinkError):
        rpc(inbox, 0)
    rpc(inbox, 0, "another")  # same number, another request
    assert app.calls[-1][0] == "another"


def test_shared_attributes_and_their_changes():
    link, app = Link(), App()
    inbox = Inbox(link, app)
    inbox(ANSWER, b'{"client":{"a":1},"shared":{"interval":5}}')
    inbox(ATTRIBUTES, b'{"interval":6}')
    inbox(ATTRIBUTES, b'{"deleted":["interval"]}')
    assert app.values == [{"interval": 5}, {"interval": 6}, {"deleted": ["interval"]}]
    assert link.published == []


@pytest.mark.parametrize(
    "answer", [b"{}", b'{"client":{"a":1}}', b'{"shared":{}}', b'{"shared":7}', b'{"shared":null}']
)
def test_no_shared_attributes_is_no_news(answer):
    app = App()
    Inbox(Link(), app)(ANSWER, answer)
    assert app.values == []


def test_a_failing_on_attributes_is_counted():
    inbox = Inbox(Link(), App(ValueError("x")))
    inbox(ATTRIBUTES, b'{"a":1}')
    assert inbox.errors == 1


BAD = [b"", b"{", b"[1]", b"7", b"null", b'"text"', b"\xff\xfe", b'{"a":1}}', b"[" * 5000]


@pytest.mark.parametrize("payload", BAD, ids=range(len(BAD)))
@pytest.mark.parametrize("topic", [REQUEST + b"1", ATTRIBUTES, ANSWER, b"some/topic"])
def test_what_is_no_object_is_told_and_ignored(topic, payload, capsys):
    link, app = Link(), App()
    inbox = Inbox(link, app)
    inbox(topic, payload)
    assert app.calls == app.values == link.published == []
    assert inbox.errors == 0
    assert "ignored" in capsys.readouterr().out


def test_other_topics_are_ignored():
    link, app = Link(), App()
    Inbox(link, app)(b"v1/devices/me/rpc/response/1", b'{"a":1}')
    assert app.calls == app.values == link.published == []


def test_opening_subscribes_and_asks():
    link = Link()
    Inbox(link, App()).open()
    packet = link.packets[0]
    assert packet[0] == 0x82 and packet[1] == len(packet) - 2
    assert packet[2:4] != b"\0\0"
    for topic in (REQUEST + b"+", ATTRIBUTES):
        assert len(topic).to_bytes(2, "big") + topic + b"\1" in packet
    assert link.published == [(ATTRIBUTES + b"/request/1", b"{}")]


def test_only_what_has_a_handler_is_subscribed_to():
    link = Link()
    Inbox(link, SimpleNamespace(on_rpc=print)).open()
    assert ATTRIBUTES not in link.packets[0] and link.published == []
    link = Link()
    Inbox(link, SimpleNamespace(on_attributes=print)).open()
    assert b"rpc" not in link.packets[0] and len(link.published) == 1


def test_attributes_whose_answer_never_comes_do_not_end_connections_for_ever(capsys):
    link = Link()
    inbox = Inbox(link, App())
    for _ in range(5):
        inbox.open()
    assert len(link.published) == 3
    assert capsys.readouterr().out.count("not asked for again") == 1


def test_an_answer_starts_the_count_again():
    link = Link()
    inbox = Inbox(link, App())
    for _ in range(5):
        inbox.open()
        inbox(ANSWER, b"{}")
    assert len(link.published) == 5


def test_packet_ids_wrap_without_zero():
    link = Link()
    link.pid = 65535
    mqtt_subscribe.subscribe(link, [b"a"])
    assert link.packets[0] == b"\x82\x06\0\x01\0\x01a\x01"


@pytest.mark.parametrize("transport", ["http", "coap"])
def test_over_other_transports_the_board_says_that_there_are_no_handlers(transport, capsys):
    assert loop._inbox(App(), Link(), transport) is None
    assert "on_rpc() and on_attributes() are never called" in capsys.readouterr().out


def test_an_app_without_handlers_costs_nothing(capsys):
    assert loop._inbox(SimpleNamespace(read=dict), Link(), "mqtt") is None
    assert loop._inbox(None, Link(), "http") is None
    assert capsys.readouterr().out == ""
