# What a user writes without firstboot: Wi-Fi, provisioning and telemetry on umqtt.simple, no store but a file, no
# retry, no deadline. The settings come in with the file settings.json.

import gc
import json
import time

import network
from umqtt.simple import MQTTClient

with open("settings.json") as f:
    settings = json.load(f)
wlan = network.WLAN(network.STA_IF)
wlan.active(True)
wlan.connect(settings["ssid"], settings["password"])
while not wlan.isconnected():
    time.sleep_ms(100)

answer = None


def heard(topic, message):
    global answer
    answer = json.loads(message)


client = MQTTClient(b"provision", settings["host"], settings["port"], "provision", "")
client.set_callback(heard)
client.connect()
request = {
    "deviceName": settings["name"],
    "provisionDeviceKey": settings["key"],
    "provisionDeviceSecret": settings["secret"],
}
client.publish(b"/provision/request", json.dumps(request), qos=1)
while not answer:
    client.wait_msg()
client.disconnect()
token = answer["credentialsValue"]
with open("token", "w") as f:
    f.write(token)

client = MQTTClient(b"board", settings["host"], settings["port"], token, "")
client.connect()
client.publish(b"v1/devices/me/telemetry", json.dumps({"count": 1}), qos=1)
gc.collect()
print("telemetry: acknowledged; heap in use", gc.mem_alloc(), "bytes")
while True:
    time.sleep_ms(200)
    client.publish(b"v1/devices/me/telemetry", json.dumps({"count": 1}), qos=1)
