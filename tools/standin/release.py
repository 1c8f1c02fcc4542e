"""What differs between the ThingsBoard releases that the stand-in can mirror (contract 11)."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Release:
    """One release's behaviour."""

    name: str
    suback_in_provision_session: bool  # since 3.9
    repeat_succeeds: bool  # a pre-provisioned device may ask twice, up to 4.2.1
    refuses_control_characters: bool  # 4.2.2.3, 4.3.1.3 and 4.4
    gateway_member: bool = True  # since 3.8


RELEASES = {
    "3.8": Release("3.8", False, True, False),
    "4.2": Release("4.2", True, True, False),
    "4.4": Release("4.4", True, False, True),
}
