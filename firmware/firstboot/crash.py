# Crashes in a row: counted over resets, told to the server, and ended by a board without the user's app.
# MIT licence, (c) 2026 the firstboot authors.
#
# An errand of the boot and of its end. A hang that the watchdog ends leaves no word, so a boot counts as crashed
# from the start, and no longer when it has lived for a minute; a power-up starts anew. A board that never crashes
# never writes. To an RP2 each reset is the watchdog's: it tells a hang from what somebody wanted only where the boot
# before counted as crashed, which wanted resets end.

import json
import os
from micropython import const

import machine

from . import clean, errand, log

_FILE = "crash.json"
_MOST = const(5)  # crashes in a row, each within a minute of its boot, until the app is left out
_TEXT = const(500)  # characters of a report: the end of a traceback says most


def begin():
    """A boot begins: (whether to leave the app out, the report of the crash before it or None, whether it counts).

    Where it counts, clear() is to be called when it has lived for a minute.
    """
    count, report = _read()
    cause = machine.reset_cause()
    wanted = "PWRON_RESET SOFT_RESET DEEPSLEEP_RESET".split()  # as far as the port has them: an RP2 has the first
    wanted = [getattr(machine, name) for name in dir(machine) if name in wanted]
    if cause in wanted:
        # The power is new, or a person or the app wanted this: nothing that crashes resets in this way.
        clear()
        return False, report, False
    if count >= _MOST:
        return True, report, False
    if report is None and cause == machine.WDT_RESET and (count or len(wanted) > 1):
        report = "reset without a word: the watchdog, or machine.reset()"
    count += 1
    is_last = count == _MOST
    _write(count, report if is_last else None)
    return is_last, report, not is_last


def note(error):
    """Keep the report of the crash that `error` is, for the next boot to send."""
    _write(_read()[0], clean(errand("trace", "text", error))[-_TEXT:])


def clear():
    """This boot is none of those that crash, and a reset that follows was wanted."""
    try:
        os.remove(_FILE)
    except OSError:
        pass


def _read():
    try:
        with open(_FILE, "rb") as f:
            count, report = json.loads(f.read())
        if isinstance(count, int) and (report is None or isinstance(report, str)):
            return count, report
    except (OSError, ValueError, TypeError):
        pass
    return 0, None


def _write(count, report):
    try:
        with open(_FILE, "wb") as f:
            f.write(json.dumps([count, report]).encode())
    except OSError as e:
        log("flash: can't count crashes:", e)
