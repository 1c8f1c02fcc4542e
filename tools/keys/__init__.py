"""A CA for a fleet: a root that stays offline, an intermediate that ThingsBoard's profile has, and boards' leaves."""

from .authority import Authority, Issued, KeysError, make_authority

__all__ = ["Authority", "Issued", "KeysError", "make_authority"]
