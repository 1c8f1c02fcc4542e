"""Flash one board or a box of them: MicroPython itself, firstboot, config; verified, and followed to the server."""

from .fleet import Outcome, flash
from .ledger import Ledger
from .ports import Port, attached, choose
from .talk import BoardFailed
from .work import Plan

__all__ = ["BoardFailed", "Ledger", "Outcome", "Plan", "Port", "attached", "choose", "flash"]
