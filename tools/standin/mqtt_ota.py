"""Chunks of OTA packages over MQTT, as one connection asks for them (contract 9)."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from .ota import integer
from .registry import Device
from .updates import NoPackage, Updates

# The server looks for this anywhere in a topic. The request's number is a text to it, the chunk's is not.
ASKED = re.compile(r"v2/(fw|sw)/request/([0-9]+)/chunk/([0-9]+)")
ERROR = "v2/fw/error"  # for software, too
SIZE_MOST = 65536


@dataclass
class Downloads:
    """What a connection has asked for. By the request's number alone, whichever kind it was for."""

    updates: Updates
    _sizes: dict[str, int] = field(default_factory=dict)
    _pinned: dict[str, str] = field(default_factory=dict)

    def chunk(self, device: Device, asked: re.Match[str], payload: bytes) -> tuple[str, str, bytes]:
        """(topic, filter, bytes) of the answer.

        NoPackage: the message goes to the topic ERROR, and the connection ends. ValueError, Limited: it ends.
        """
        kind, request, number = asked[1], asked[2], integer(asked[3])
        size = integer(payload.decode("utf-8", "replace")) if payload else 0
        if size > 0:
            self._sizes[request] = size
        size = self._sizes.get(request, 0)
        if size > SIZE_MOST:
            raise NoPackage("PAYLOAD_TOO_LARGE")
        if request not in self._pinned:
            package = self.updates.wanted(device, kind)
            self._pinned[request] = package.id
            self.updates.core.say("mqtt", device.name, f"{package}: from chunk {number}")
        data = self.updates.chunk(self._pinned[request], size, number)
        prefix = f"v2/{kind}/response"
        return f"{prefix}/{request}/chunk/{number}", f"{prefix}/+/chunk/+", data
