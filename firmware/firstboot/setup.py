# The configuration that a boot needs, waited for where there is none. MIT licence, (c) 2026 the firstboot authors.

from binascii import crc32

from . import board, forget, log, pause

_CONFIG = "config.json"


def config():
    """What config.load() makes of config.json. A bad one is told, blinked and never crashes the board: it waits
    for the file to change, and resets."""
    from .config import ConfigError, load

    try:
        return load(_CONFIG)
    except ConfigError as e:
        log("config: %s %s" % e.args)
    finally:
        forget("firstboot.config")
    log("config: waiting for %s to change" % _CONFIG)
    before = _content()
    while _content() == before:
        board.blink(2)
        pause(2000)
    log("config: changed, starting again")
    board.reset()


def _content():
    try:
        with open(_CONFIG, "rb") as f:
            return crc32(f.read())
    except (OSError, MemoryError):
        return None
