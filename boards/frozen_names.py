# The names of firstboot's modules, for the ROM of a MicroPython that it is frozen in. MIT licence, (c) 2026 the
# firstboot authors.
#
# An import by a name that no frozen code has makes that name on the heap, for ever: firstboot imports most of its
# modules through errand(), which puts their names together. Nothing imports this file, but its names are in ROM.
# Written by `python -m tools.package`.
# ruff: noqa: F401, F811


def never():
    import firstboot.advice as module
    import firstboot.backoff as module
    import firstboot.begin as module
    import firstboot.board as module
    import firstboot.boot as module
    import firstboot.candidate as module
    import firstboot.clock as module
    import firstboot.codec as module
    import firstboot.config as module
    import firstboot.config_wait as module
    import firstboot.connect as module
    import firstboot.crash as module
    import firstboot.drain as module
    import firstboot.ended as module
    import firstboot.enrol as module
    import firstboot.handshake as module
    import firstboot.inbox as module
    import firstboot.json_strict as module
    import firstboot.limits as module
    import firstboot.link as module
    import firstboot.link.coap as module
    import firstboot.link.dial as module
    import firstboot.link.http as module
    import firstboot.link.http_ask as module
    import firstboot.link.http_body as module
    import firstboot.link.mqtt as module
    import firstboot.link.mqtt_ask as module
    import firstboot.link.mqtt_connack as module
    import firstboot.link.mqtt_connect as module
    import firstboot.link.mqtt_hello as module
    import firstboot.link.mqtt_lay as module
    import firstboot.link.mqtt_packet as module
    import firstboot.link.mqtt_subscribe as module
    import firstboot.link.tls as module
    import firstboot.link.tls_why as module
    import firstboot.loop as module
    import firstboot.mend as module
    import firstboot.ota as module
    import firstboot.ota.begin as module
    import firstboot.ota.bring as module
    import firstboot.ota.chip as module
    import firstboot.ota.coap as module
    import firstboot.ota.coap_chunks as module
    import firstboot.ota.digest as module
    import firstboot.ota.fetch as module
    import firstboot.ota.files as module
    import firstboot.ota.find as module
    import firstboot.ota.http as module
    import firstboot.ota.http_chunks as module
    import firstboot.ota.install as module
    import firstboot.ota.look as module
    import firstboot.ota.loop as module
    import firstboot.ota.mqtt as module
    import firstboot.ota.mqtt_chunks as module
    import firstboot.ota.news as module
    import firstboot.ota.partition as module
    import firstboot.ota.room as module
    import firstboot.ota.state as module
    import firstboot.ota.tar as module
    import firstboot.ota.trial as module
    import firstboot.ota.updates as module
    import firstboot.outbox as module
    import firstboot.provision as module
    import firstboot.ready as module
    import firstboot.record as module
    import firstboot.record_keep as module
    import firstboot.record_write as module
    import firstboot.rules as module
    import firstboot.safe as module
    import firstboot.secrets as module
    import firstboot.selftest as module
    import firstboot.server as module
    import firstboot.server_link as module
    import firstboot.store as module
    import firstboot.telemetry as module
    import firstboot.trace as module
    import firstboot.wifi as module
    import firstboot.x509 as module
    import firstboot.x509.cert as module
    import firstboot.x509.chip as module
    import firstboot.x509.der as module
    import firstboot.x509.files as module
    import firstboot.x509.own as module
    import firstboot.x509.p256 as module
    import firstboot.x509.reader as module
    import firstboot.x509.renew as module
