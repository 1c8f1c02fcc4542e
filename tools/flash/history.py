"""`firstboot ledger`: the command of that name, where the table of commands finds it."""

from .command import ledger_app as app

__all__ = ["app"]
