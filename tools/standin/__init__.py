"""A server on loopback that behaves like ThingsBoard's device transports. For development and tests only."""

from .core import Fate
from .limits import Limits
from .server import Standin

__all__ = ["Fate", "Limits", "Standin"]
