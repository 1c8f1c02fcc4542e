"""The MicroPython unix VM and the one library that boards take from elsewhere: found, or fetched once and cached."""

from .errors import VmError
from .find import find
from .probe import Vm
from .umqtt import umqtt_simple

__all__ = ["Vm", "VmError", "find", "umqtt_simple"]
