# Telemetry over CoAP: a module of microCoAPy's face bare, and firstboot's link on it. Prints JSON.

import json
import sys

import microcoapy
from firstboot.link.coap import Link
from rates import measure

HOST = "127.0.0.1"
PORT = int(sys.argv[1])
TOKEN = sys.argv[2]
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


print(json.dumps({"rates": measure(("microcoapy", post, TIMES), ("firstboot", lambda: link.send(PAYLOAD), TIMES))}))
