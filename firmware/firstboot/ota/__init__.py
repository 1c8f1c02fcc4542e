# Updates over the air: ThingsBoard's OTA packages. MIT licence, (c) 2026 the firstboot authors.
#
# A slice for boards whose config has ota.check. Packages of type software are TAR archives with the app and its
# modules, those of type firmware images of an ESP32.
#   loop.py     the telemetry loop that looks for an update now and then, and judges the one on trial (trial.py)
#   find.py     is there something new (look.py)?
#   bring.py    is there room (room.py)? Download it (fetch.py) into files.py or chip.py; check it (install.py,
#               digest.py), unpack it (tar.py) or switch to it (partition.py), restart
#   begin.py    which app a boot begins with; state.py has what is remembered, updates.py what the loop keeps in mind
#   mqtt.py, http.py, coap.py, and *_chunks.py: what is asked of the server; news.py has what it is told
