# The boot: wires the parts in order, the only file that knows them all. MIT licence, (c) 2026 the firstboot
# authors.

import gc
import os
import sys

from . import board, wifi
from .backoff import Backoff
from .link import load
from .log import hide, hide_credentials, log, trace
from .store import VERIFIED, Store
from .version import VERSION

_CONFIG = "config.json"
_CRASH = 10000  # ms between a crash and the reset, so that a person can read why


def run(app):
    """Boot the board and stay in its telemetry loop; see firstboot.run()."""
    try:
        _boot(app)
    except Exception as e:  # noqa: BLE001 - the last line of defence: say why, and start again
        log("firstboot: crashed, starting again in %d s" % (_CRASH // 1000))
        trace(e)
        board.pause(_CRASH)
        board.reset()


def _boot(app):
    log("firstboot", VERSION, "on", board.kind())
    config = _config()
    for name in ("wifi.password", "provision.secret", "provision.key", "provision.fleet_secret"):
        hide(config[name])
    board.watch(config["watchdog"])
    store = Store(board.slots())
    hide_credentials(store.credentials)
    link = load(config["transport"])(config)
    backoff = Backoff(config["retry.first"], config["retry.most"], os.urandom)
    is_open = store.state != VERIFIED
    if is_open:
        log("identity: none that the server has accepted")
        _provision(config, store, link, backoff)
    log("identity: verified")
    backoff.reset()
    _forget()
    from .telemetry import Telemetry

    Telemetry(_app(app), link, store, config, backoff, is_open).run()


def _config():
    from .config import ConfigError, load

    try:
        return load(_CONFIG)
    except ConfigError as e:
        log("config:", e.args[0], e.args[1])
    log("config: waiting for", _CONFIG, "to change")
    before = _content()
    while _content() == before:
        board.blink(2)
        board.pause(2000)
    log("config: changed, starting again")
    board.reset()


def _content():
    from binascii import crc32

    try:
        with open(_CONFIG, "rb") as f:
            return crc32(f.read())
    except OSError:
        return None


def _provision(config, store, link, backoff):
    from .candidate import make
    from .provision import SLOW, Provisioner

    slow = Backoff(config["retry.refused"], config["retry.refused"], os.urandom)

    def network():
        while True:
            try:
                return wifi.join(config["wifi.ssid"], config["wifi.password"], config["wifi.timeout"])
            except OSError as e:
                log(e.args[0])
                board.pause(backoff.next())

    def pause(wait):
        ms = (slow if wait == SLOW else backoff).next()
        log("provision: next try in %.1f s" % (ms / 1000))
        board.pause(ms)
        network()

    network()
    name = config["provision.name"]
    values = board.names()
    for placeholder in values:
        name = name.replace(placeholder, values[placeholder])
    Provisioner(
        link,
        store,
        name,
        config["provision.key"],
        config["provision.secret"],
        lambda: make(config["credentials"], name, config["provision.fleet_secret"], os.urandom),
        pause,
    ).run()


def _app(name):
    try:
        return __import__(name)
    except Exception as e:  # noqa: BLE001 - a broken app must not keep the board from telling so
        log("app: can't be imported")
        trace(e)


def _forget():
    # What the first boot alone needed leaves memory before the loop starts; a later revocation resets the board.
    package = sys.modules["firstboot"]
    for name in ("config", "candidate", "codec", "provision"):
        if sys.modules.pop("firstboot." + name, None):
            delattr(package, name)
    gc.collect()
