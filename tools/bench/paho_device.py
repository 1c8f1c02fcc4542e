"""One device as a CPython process: provisions itself and sends one sample with paho-mqtt."""

import json
import sys
import threading

import paho.mqtt.client as mqtt

HOST, SECONDS = "127.0.0.1", 30
port, name, key, secret = sys.argv[1:]
heard = threading.Event()
answers: list[dict[str, str]] = []


def on_message(client, userdata, message):
    answers.append(json.loads(message.payload))
    heard.set()


def connect(user, **callbacks):
    """A client that is connected as `user`."""
    connected = threading.Event()
    client = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2)
    client.username_pw_set(user)
    client.on_connect = lambda *_: connected.set()
    for callback, function in callbacks.items():
        setattr(client, callback, function)
    client.connect(HOST, int(port))
    client.loop_start()
    if not connected.wait(SECONDS):
        sys.exit("no CONNACK")
    return client


request = {"deviceName": name, "provisionDeviceKey": key, "provisionDeviceSecret": secret}
client = connect("provision", on_message=on_message)
client.publish("/provision/request", json.dumps(request), qos=1)
if not heard.wait(SECONDS):
    sys.exit("no answer")
client.disconnect()
client = connect(answers[0]["credentialsValue"])
client.publish("v1/devices/me/telemetry", json.dumps({"count": 1}), qos=1).wait_for_publish(SECONDS)
client.disconnect()
