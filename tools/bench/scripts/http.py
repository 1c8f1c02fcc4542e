# Telemetry over HTTP: one requests.post() each, and firstboot's kept connection. Prints JSON.

import gc
import json
import sys
import time

import requests
from firstboot.link.http import Link

HOST = "127.0.0.1"
PORT = int(sys.argv[1])
TOKEN = sys.argv[2]
ROUNDS = 5
TIMES = 40
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


rates = {"requests": [], "firstboot": []}
for _ in range(ROUNDS):
    for name, send in (("requests", post), ("firstboot", lambda: link.send(PAYLOAD))):
        gc.collect()
        began = time.ticks_us()
        for _ in range(TIMES):
            send()
        rates[name].append(TIMES * 1e6 / time.ticks_diff(time.ticks_us(), began))
print(json.dumps({"rates": rates}))
