"""A virtual board: the MicroPython VM, a heap of the board's size, flash in a file, and a reset button."""

from .board import PowerCut, Run, VirtualBoard, WifiPlan
from .image import Image

__all__ = ["Image", "PowerCut", "Run", "VirtualBoard", "WifiPlan"]
