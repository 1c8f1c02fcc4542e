"""Factory images: a board's whole file system made on this computer, and what is in such a file.

A factory writes one file: with esptool at the file system's offset (ESP32), or as UF2 onto the boot drive (RP2). The
same input gives the same bytes: littlefs keeps no time, and files are laid in order of their paths.
"""

from .chip import chip_of, look
from .filesystem import ImageError, find, lay, listing
from .parts import Parts, combine, split

__all__ = ["ImageError", "Parts", "chip_of", "combine", "find", "lay", "listing", "look", "split"]
