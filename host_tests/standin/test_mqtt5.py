"""Clients that speak MQTT 5, by paho-mqtt: ThingsBoard's own Python client does so unless told otherwise."""

import json
import queue

import paho.mqtt.client as mqtt
import pytest
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from tools.standin import mqtt5

PATIENCE = 20


class Board:
    """A paho client whose callbacks end up in one queue."""

    def __init__(self, port, username, will=False):
        self.heard = queue.Queue()
        self.client = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2, client_id="five", protocol=mqtt.MQTTv5)
        self.client.username_pw_set(username, "ignored")
        if will:
            properties = Properties(PacketTypes.WILLMESSAGE)
            properties.WillDelayInterval = 5
            self.client.will_set("a/will", b"gone", 1, properties=properties)
        self.client.on_connect = lambda _c, _u, _f, reason, _p: self.heard.put(("connack", reason.value))
        self.client.on_publish = lambda _c, _u, _m, reason, _p: self.heard.put(("puback", reason.value))
        self.client.on_subscribe = lambda _c, _u, _m, reasons, _p: self.heard.put(
            ("suback", [r.value for r in reasons])
        )
        self.client.on_unsubscribe = lambda _c, _u, _m, reasons, _p: self.heard.put(("unsuback", len(reasons)))
        self.client.on_message = lambda _c, _u, message: self.heard.put((message.topic, json.loads(message.payload)))
        connecting = Properties(PacketTypes.CONNECT)
        connecting.SessionExpiryInterval = 300
        self.client.connect("127.0.0.1", port, properties=connecting)
        self.client.loop_start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.client.disconnect()
        self.client.loop_stop()

    def hears(self):
        return self.heard.get(timeout=PATIENCE)


def test_telemetry_subscriptions_and_rpc(server, device):
    with Board(server.mqtt_port, device, will=True) as board:
        assert board.hears() == ("connack", 0)
        sending = Properties(PacketTypes.PUBLISH)
        sending.UserProperty = [("made", "by"), ("a", "test" * 50)]
        board.client.publish("v1/devices/me/telemetry", '{"a":5}', 1, properties=sending)
        assert board.hears() == ("puback", 0)
        assert [(name, value) for name, _, value in server.telemetry(device)] == [("a", 5)]
        filters = [
            ("v1/devices/me/attributes", mqtt.SubscribeOptions(2, noLocal=True)),
            ("#", mqtt.SubscribeOptions(1)),
        ]
        board.client.subscribe(filters)
        assert board.hears() == ("suback", [1, 0x8F])
        server.set_shared(device, {"b": 6})
        assert board.hears() == ("v1/devices/me/attributes", {"b": 6})
        board.client.publish("v1/devices/me/rpc/request/1", '{"method":"getSessionLimits","params":{}}', 1)
        assert board.hears() == ("puback", 0)
        topic, limits = board.hears()
        assert (topic, limits["maxPayloadSize"]) == ("v1/devices/me/rpc/response/1", 65536)
        board.client.unsubscribe(["v1/devices/me/attributes", "v1/devices/me/rpc/request/+"])
        assert board.hears() == ("unsuback", 2)


def test_a_bad_payload_is_told_and_the_session_stays(server, device):
    with Board(server.mqtt_port, device) as board:
        board.hears()
        board.client.publish("v1/devices/me/telemetry", "{", 1)
        assert board.hears() == ("puback", mqtt5.PAYLOAD_FORMAT_INVALID)
        board.client.publish("v1/devices/me/telemetry", '{"a":1}', 1)
        assert board.hears() == ("puback", 0)


def test_refused(server):
    with Board(server.mqtt_port, "nobody") as board:
        assert board.hears() == ("connack", 0x87)


def test_provisioning(server):
    with Board(server.mqtt_port, "provision") as board:
        assert board.hears() == ("connack", 0)
        board.client.subscribe("/provision/response", 1)
        assert board.hears() == ("suback", [1])
        body = {"provisionDeviceKey": "profile-key", "provisionDeviceSecret": "profile-secret", "deviceName": "five"}
        board.client.publish("/provision/request", json.dumps(body), 1)
        assert board.hears() == ("puback", 0)
        topic, answer = board.hears()
        assert (topic, answer["status"]) == ("/provision/response", "SUCCESS")


@pytest.mark.parametrize("cut", range(1, 30))
def test_packets_cut_short(cut):
    connect = b"\x00\x04MQTT\x05\x86\x00\x3c\x05\x11\x00\x00\x01\x2c\x00\x04five\x00\x00\x04will\x00\x01x\x00\x01u"
    assert mqtt5.is_connect(1, connect)
    whole = mqtt5.without_properties(1, 0, connect)
    assert whole == b"\x00\x04MQTT\x04\x86\x00\x3c\x00\x04five\x00\x04will\x00\x01x\x00\x01u"
    try:
        assert len(mqtt5.without_properties(1, 0, connect[:cut])) < len(whole)
    except (ValueError, IndexError) as e:
        assert isinstance(e, ValueError)
