# Which app partition of an ESP32 runs. MIT licence, (c) 2026 the firstboot authors.
#
# The bootloader checks an image by itself before it is made the next to run, and goes back from one that was not marked
# as good (ESP-IDF, "App rollback"; MicroPython's own builds have it).

from micropython import const

from .. import errand, log

try:
    from esp32 import Partition
except ImportError:  # another chip
    Partition = None  # type: ignore[misc]

_LABEL = const(4)  # in Partition.info()


def switch():
    """Make the other partition the next to run; returns its label, and that of the one to go back to. ValueError."""
    running = Partition(Partition.RUNNING)
    other = running.get_next_update()
    try:
        other.set_boot()
    except OSError:
        raise ValueError("the bootloader does not take it: no image for this chip")
    return other.info()[_LABEL], running.info()[_LABEL]


def run(label):
    """Reset into the partition of this label, unless it runs already."""
    if not Partition:  # the update.json of another board
        return
    try:
        if Partition(Partition.RUNNING).info()[_LABEL] == label:
            return
        Partition(label).set_boot()
    except (OSError, TypeError) as e:  # no label of this board's
        log("update: %s can't be started: %s" % (label, e))
        return
    errand("board", "reset")


def keep():
    """What runs is good: no going back."""
    try:
        Partition.mark_app_valid_cancel_rollback()
    except OSError:  # a bootloader without rollback has nothing to cancel
        pass
