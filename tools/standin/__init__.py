"""A server on loopback that behaves like ThingsBoard's device transports. For development and tests only."""

from .server import Standin

__all__ = ["Standin"]
