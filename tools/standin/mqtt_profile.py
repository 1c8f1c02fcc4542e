"""What a device profile sets for MQTT: topics of its own, and whether a bad payload is acknowledged (contract 3)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from .registry import Profile

TELEMETRY = "v1/devices/me/telemetry"
ATTRIBUTES = "v1/devices/me/attributes"


class MqttProfile:
    """The settings of a profile whose transport configuration is of type MQTT, else the server's own.

    Its topics are filters: `+` stands for one level, `#` for all that follow. The short topics hold beside them.
    """

    def __init__(self, profile: Profile | None) -> None:
        data = profile.info.get("profileData", {}) if profile else {}
        given = data.get("transportConfiguration") or {}
        settings: Mapping[str, Any] = given if given.get("type") == "MQTT" else {}
        self.acknowledges_faults = bool(settings.get("sendAckOnValidationException"))
        self._telemetry = _pattern(settings.get("deviceTelemetryTopic") or TELEMETRY)
        self._attributes = _pattern(settings.get("deviceAttributesTopic") or ATTRIBUTES)
        self._updates = _pattern(settings.get("deviceAttributesSubscribeTopic") or ATTRIBUTES)

    def is_telemetry(self, topic: str) -> bool:
        """True for a topic on which telemetry comes."""
        return topic in ("v2/t", "v2/t/j") or bool(self._telemetry.fullmatch(topic))

    def is_attributes(self, topic: str) -> bool:
        """True for a topic on which client attributes come."""
        return topic in ("v2/a", "v2/a/j") or bool(self._attributes.fullmatch(topic))

    def is_updates(self, topic: str) -> bool:
        """True for the profile's topic to subscribe to for shared attributes."""
        return bool(self._updates.fullmatch(topic))


def _pattern(topic_filter: str) -> re.Pattern[str]:
    text = re.escape(topic_filter).replace(r"\+", "[^/]+").replace(r"/\#", "(/.*)?").replace(r"\#", ".*")
    return re.compile(text)
