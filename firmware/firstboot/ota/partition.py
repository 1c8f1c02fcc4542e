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


def labels():
    """Of the other partition, and of the one that runs."""
    running = Partition(Partition.RUNNING)
    return running.get_next_update().info()[_LABEL], running.info()[_LABEL]


def switch():
    """Make the other partition the next to run. ValueError."""
    try:
        Partition(Partition.RUNNING).get_next_update().set_boot()
    except OSError:
        raise ValueError("the bootloader does not take it: no image for this chip")


def run(label):
    """Whether the partition of this label runs. If not, reset into it; returns where that can't be."""
    if not Partition:  # the update.json of another board
        return False
    try:
        if Partition(Partition.RUNNING).info()[_LABEL] == label:
            return True
        Partition(label).set_boot()
    except (OSError, TypeError) as e:  # no label of this board's
        log("update: %s can't be started: %s" % (label, e))
        return False
    errand("board", "reset")


def keep():
    """What runs is good: no going back."""
    try:
        Partition.mark_app_valid_cancel_rollback()
    except OSError:  # a bootloader without rollback has nothing to cancel
        pass
