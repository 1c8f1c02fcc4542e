# The boot: what comes before provisioning and before the loop. MIT licence, (c) 2026 the firstboot authors.

from . import errand, log

_CONFIG = "config.json"
# What goes where, see boot().
_FIELDS = (
    "wifi.ssid wifi.password wifi.timeout",
    "retry.first retry.first retry.most",
    "transport outbox.bytes outbox.writes_per_hour ntp.host ntp.port revoked period ota.check",
    "provision.name provision.key provision.secret credentials provision.fleet_secret x509.cert x509.key retry.refused",
)


def boot():
    """Bring up the board.

    Returns the slots of the store, server.py's settings(), the arguments of wifi.join(), what backoff.draw() keeps, and
    what ready.ready() and enrol.enrol() take of the config.
    """
    log("firstboot on", errand("board", "model"))
    try:
        config = errand("config", "load", _CONFIG)
        errand("rules", "check", config)
    except ValueError as e:
        errand("config_wait", "wait", _CONFIG, e)
    secret = ("wifi.password", "provision.key", "provision.secret", "provision.fleet_secret")
    errand("secrets", "hide", [config[name] for name in secret])
    slots = errand("board", "start", config["watchdog"])
    if config["ota.check"]:
        config["ota.check"] = errand("ota.begin", "begin", config)
    # From here on the values alone: with their names they would take 1,280 bytes more.
    server = errand("server", "settings", config)
    wifi, backoff, rest, first = [[config[name] for name in names.split()] for names in _FIELDS]
    return slots, server, wifi, backoff, rest, first
