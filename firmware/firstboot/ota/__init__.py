# Updates over the air: ThingsBoard's OTA packages. MIT licence, (c) 2026 the firstboot authors.
#
# A slice for boards whose config has ota.check. Packages of type firmware are images of the chip (chip.py), those of
# type software are TAR archives with the app and its modules (files.py). What happens, each an errand of loop.py:
#   look.py    what has the server assigned, and is it new?
#   fetch.py   download it, from where an earlier try has stopped; read it back (digest.py); install it; restart
#   trial.py   a sample was acknowledged: keep it. Otherwise: back to what was there before
# state.py has what is remembered in between, and where a boot begins. mqtt.py, http.py and coap.py ask the server.
