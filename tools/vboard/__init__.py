"""A virtual board: the MicroPython VM, a heap of the board's size, flash in a file, and a reset button."""

from .board import PowerCut, Run, VirtualBoard, WifiPlan
from .cable import Cable, CableFault
from .image import Image

__all__ = ["Cable", "CableFault", "Image", "PowerCut", "Run", "VirtualBoard", "WifiPlan"]
