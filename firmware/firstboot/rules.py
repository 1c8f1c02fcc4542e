# What no field of the configuration can say alone. MIT licence, (c) 2026 the firstboot authors.
#
# An errand of config.py, when the document is gone.

_PORTS = (1883, 8883, 80, 443, 5683, 5684)  # of mqtt, http and coap, without TLS and with it


def check(config):
    """Look over what the fields alone have made of `config`, and fill in the server's port. ValueError as there."""
    mode = config["credentials"]
    for name in ("provision.key", "provision.secret"):
        if config[name] is None and mode != "chain":
            raise ValueError(name, "is missing: copy it from the device profile in ThingsBoard")
    if mode == "derived" and config["provision.fleet_secret"] is None:
        raise ValueError("provision.fleet_secret", "is missing, and credentials is derived")
    transport = config["transport"]
    if mode == "basic" and transport != "mqtt":
        raise ValueError("credentials", "basic works over mqtt only, and transport is " + transport)
    if mode in ("x509", "chain") and not config["tls.enabled"]:
        raise ValueError("credentials", mode + " needs tls.enabled true")
    if mode == "x509" and transport == "http" or mode == "chain" and transport != "mqtt":
        raise ValueError("credentials", "%s does not work over %s" % (mode, transport))
    name = config["provision.name"]
    for part in ("board", "mac", "uid"):
        name = name.replace("{%s}" % part, "")
    name = name.encode()
    if b"{" in name or b"}" in name:
        raise ValueError("provision.name", "may hold {board}, {mac} and {uid} only")
    if config["retry.first"] > config["retry.most"]:
        raise ValueError("retry.first", "must not be more than retry.most")
    if config["server.port"] is None:
        config["server.port"] = _PORTS["mqtt http coap".split().index(transport) * 2 + config["tls.enabled"]]
