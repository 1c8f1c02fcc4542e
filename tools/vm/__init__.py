"""The MicroPython unix VM, and what boards take from elsewhere: found, or fetched once and cached."""

from .errors import VmError
from .find import find
from .folder import cache, locked
from .libraries import umqtt_simple
from .probe import Vm

__all__ = ["Vm", "VmError", "cache", "find", "locked", "umqtt_simple"]
