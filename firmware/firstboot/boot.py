# The boot: what comes before provisioning and before the loop. MIT licence, (c) 2026 the firstboot authors.

from micropython import const

from . import errand, log

_VERIFIED = const(0x40)  # store.VERIFIED
_CONFIG = "config.json"


def boot():
    """Bring up the board.

    Returns config, Store, Link, the arguments of wifi.join(), what backoff.draw() keeps, and whether this is a first
    boot.
    """
    log("firstboot on", errand("board", "model"))
    try:
        config = errand("config", "load", _CONFIG)
    except ValueError as e:
        errand("config_wait", "wait", _CONFIG, e)
    secret = ("wifi.password", "provision.key", "provision.secret", "provision.fleet_secret")
    errand("secrets", "hide", [config[name] for name in secret])
    store = errand("store", "Store", errand("board", "start", config["watchdog"]))
    store.hide()
    try:
        link = errand("link." + config["transport"], "Link", config)
        if config["ota.check"]:
            config["ota.check"] = errand("ota.begin", "begin", config)
    except ImportError as e:  # a slice that was left out, or microCoAPy
        errand("config_wait", "wait", _CONFIG, ValueError(_CONFIG, "needs more than is on this board: %s" % e))
    # The link has what it needs: 400 bytes less while the board provisions itself. A new dict, as none ever shrinks.
    used = "server tls coap watchdog".split()
    config = {name: config[name] for name in config if name.split(".")[0] not in used}
    names = "wifi.ssid wifi.password wifi.timeout retry.first retry.first retry.most".split()
    values = [config[name] for name in names]
    return config, store, link, values[:3], values[3:], store.state != _VERIFIED
