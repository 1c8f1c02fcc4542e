# Telemetry over CoAP: a module of microCoAPy's face bare, and firstboot's link on it. Prints JSON.

import gc
import json
import sys
import time

import microcoapy
from firstboot.link.coap import Link

HOST = "127.0.0.1"
PORT = int(sys.argv[1])
TOKEN = sys.argv[2]
ROUNDS = 5
TIMES = 40
PAYLOAD = b'{"temperature":21.5,"humidity":48,"battery":3.71}'

link = Link(
    {
        "server.host": HOST,
        "server.port": PORT,
        "server.timeout": 10,
        "server.frame": 4096,
        "tls.enabled": False,
        "coap.confirmable": True,
    }
)
link.open({"credentialsType": "ACCESS_TOKEN", "token": TOKEN})

heard = []
coap = microcoapy.Coap()
coap.debug = False
coap.responseCallback = lambda packet, sender: heard.append(packet.method)
coap.start(0)


def post():
    heard.clear()
    coap.post(HOST, PORT, "api/v1/%s/telemetry" % TOKEN, PAYLOAD)
    while not heard:
        coap.poll(1000, 1)


rates = {"microcoapy": [], "firstboot": []}
for _ in range(ROUNDS):
    for name, send in (("microcoapy", post), ("firstboot", lambda: link.send(PAYLOAD))):
        gc.collect()
        began = time.ticks_us()
        for _ in range(TIMES):
            send()
        rates[name].append(TIMES * 1e6 / time.ticks_diff(time.ticks_us(), began))
print(json.dumps({"rates": rates}))
