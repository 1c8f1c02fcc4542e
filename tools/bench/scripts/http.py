# Telemetry over HTTP: one requests.post() each, and firstboot's kept connection. Prints JSON.

import json
import sys

import requests
from firstboot.link.http import Link
from rates import measure

HOST = "127.0.0.1"
PORT = int(sys.argv[1])
TOKEN = sys.argv[2]
TIMES = 200
PAYLOAD = b'{"temperature":21.5,"humidity":48,"battery":3.71}'
URL = "http://%s:%d/api/v1/%s/telemetry" % (HOST, PORT, TOKEN)

link = Link(
    {"server.host": HOST, "server.port": PORT, "server.timeout": 10, "server.frame": 4096, "tls.enabled": False}
)
link.open({"credentialsType": "ACCESS_TOKEN", "token": TOKEN})


def post():
    answer = requests.post(URL, data=PAYLOAD, headers={"Content-Type": "application/json"})
    answer.close()
    if answer.status_code != 200:
        raise OSError(answer.status_code)


print(json.dumps({"rates": measure(("requests", post, TIMES), ("firstboot", lambda: link.send(PAYLOAD), TIMES))}))
