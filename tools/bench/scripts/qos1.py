# QoS 1 publishes a second on one connection: a bare socket, umqtt.simple, firstboot's link. Prints JSON.

import gc
import json
import socket
import sys

from firstboot.link.mqtt import Link
from rates import measure
from umqtt.simple import MQTTClient

HOST = "127.0.0.1"
PORT = int(sys.argv[1])
TOPIC = b"v1/devices/me/telemetry"
PAYLOAD = b'{"temperature":21.5,"humidity":48,"battery":3.71}'

CONFIG = {
    "server.host": HOST,
    "server.port": PORT,
    "server.timeout": 10,
    "server.keepalive": 60,
    "server.frame": 4096,
    "tls.enabled": False,
}


def bare():
    sock = socket.socket()
    sock.connect(socket.getaddrinfo(HOST, PORT)[0][-1])
    sock.write(b"\x10\x0f\0\4MQTT\4\2\0\x3c\0\3abc")
    sock.read(4)
    size = len(TOPIC) + len(PAYLOAD) + 4
    packet = b"\x32%c\0%c%s\0\1%s" % (size, len(TOPIC), TOPIC, PAYLOAD)

    def publish():
        sock.write(packet)
        sock.read(4)

    return publish


client = MQTTClient(b"bench", HOST, PORT)
client.connect()
link = Link(CONFIG)
link.open({"credentialsType": "ACCESS_TOKEN", "token": "bench"})

candidates = (
    ("socket", bare(), 2000),
    ("umqtt", lambda: client.publish(TOPIC, PAYLOAD, qos=1), 10),
    ("firstboot", lambda: link.send(PAYLOAD), 2000),
)
rates = measure(*candidates)


def allocated(publish, times):
    # Bytes of heap that one publish takes.
    publish()
    gc.collect()
    gc.disable()
    before = gc.mem_alloc()
    for _ in range(times):
        publish()
    after = gc.mem_alloc()
    gc.enable()
    return (after - before) / times


print(
    json.dumps(
        {
            "rates": rates,
            "alloc": {
                "firstboot": allocated(lambda: link.send(PAYLOAD), 100),
                "umqtt": allocated(lambda: client.publish(TOPIC, PAYLOAD, qos=1), 10),
            },
        }
    )
)
