"""A board and its server on this machine: a stand-in with a profile, a flash image with firmware and config."""

from __future__ import annotations

import itertools
import json
import tempfile
from pathlib import Path
from typing import Any

from .build import firmware, microcoapy
from .standin import Standin
from .standin.provisioning import ALLOW_CREATE
from .vboard import Image, VirtualBoard
from .vm import Vm
from .vm.frozen import frozen

KEY = "demo-provision-key"
SECRET = "demo-provision-secret"  # noqa: S105 - of a profile on loopback that lives as long as the stage
FLEET_SECRET = "the demo fleet's own secret"  # noqa: S105
# An app that counts its samples: what arrives on the server tells what was lost.
COUNTING = b"""\
count = 0


def read():
    global count
    count += 1
    return {"count": count}
"""


class Stage:
    """A context manager: the stand-in runs, and boards boot against it.

    `transport`, `tls`, `credentials`: as in config.json. `files`: more or other files for the image, by their path
    on the board. `config`: more or other config sections. `frozen`: the boards' MicroPython has firstboot frozen in.
    `vm`: the boards' MicroPython, where it is another one. `without`: slices that the boards' flash lacks.
    """

    def __init__(
        self,
        transport: str = "mqtt",
        tls: bool = False,
        credentials: str = "token",
        *,
        strategy: str = ALLOW_CREATE,
        files: dict[str, bytes] | None = None,
        config: dict[str, Any] | None = None,
        frozen: bool = False,
        vm: Vm | None = None,
        without: tuple[str, ...] = (),
        **standin: Any,
    ) -> None:
        self.transport = transport
        self.tls = tls
        self.credentials = credentials
        self.strategy = strategy
        self.files = files or {}
        self.more = config or {}
        self.frozen = frozen
        self.names = self._names()
        self.vm = vm
        self.without = without
        if tls:
            standin["tls"] = True
        self.standin = Standin(**standin)
        self._laid: dict[bool, dict[str, bytes]] = {}  # the firmware, by strip
        self._numbers = itertools.count(1)
        self._folder = tempfile.TemporaryDirectory(prefix="firstboot-")

    def __enter__(self) -> Stage:
        self.standin.start()
        self.standin.add_profile("boards", self.strategy, KEY, SECRET)
        return self

    def __exit__(self, *_: object) -> None:
        self.standin.__exit__()
        self._folder.cleanup()

    @property
    def config(self) -> dict[str, Any]:
        """The board's config.json."""
        config: dict[str, Any] = {
            "wifi": {"ssid": "lab", "password": "lab-password"},
            "server": {"host": "localhost", "port": self._port()},
            "provision": {"key": KEY, "secret": SECRET},
            "transport": self.transport,
            "credentials": self.credentials,
            "period": 0.2,
        }
        if self.credentials == "derived":
            config["provision"]["fleet_secret"] = FLEET_SECRET
        if self.tls:
            config["tls"] = {"enabled": True}
        for name, value in self.more.items():
            config[name] = {**config.get(name, {}), **value} if isinstance(value, dict) else value
        return config

    def document(self) -> bytes:
        """The board's config.json, as its file has it."""
        return json.dumps(self.config).encode()

    def image(self, *, strip: bool = True) -> Image:
        """A new board's flash: empty but for firmware, config and, where needed, the server's CA."""
        # A board's unique id comes from the image's path, so that each is another device to the server.
        image = Image(Path(self._folder.name) / f"board-{next(self._numbers)}.img").format()
        files = {**self._firmware(strip), "/config.json": self.document()}
        if self.transport == "coap":
            files.update(microcoapy(strip=strip))
        if self.tls:
            files["/ca.der"] = Path(self.standin.ca_der).read_bytes()  # type: ignore[attr-defined]
        image.put({**files, **self.files})
        return image

    def board(self, image: Image, **more: Any) -> VirtualBoard:
        """The board with this image."""
        return VirtualBoard(image, vm=self.vm or (frozen() if self.frozen else None), **more)

    def _names(self) -> int:
        # That many of the firmware's, or fewer, does MicroPython hold; a test counts them.
        if self.frozen:
            return 140 if self.transport == "coap" else 20  # microCoAPy is not frozen in
        is_large = self.tls or self.more.get("ota", {}).get("check")
        return 300 if self.transport == "coap" or self.transport == "mqtt" and is_large else 140

    def _firmware(self, strip: bool) -> dict[str, bytes]:
        if strip not in self._laid:
            self._laid[strip] = firmware(strip=strip, frozen=self.frozen, without=self.without)
        return self._laid[strip]

    def _port(self) -> int:
        name = {"mqtt": "mqtts", "http": "https", "coap": "coaps"}[self.transport] if self.tls else self.transport
        return int(getattr(self.standin, f"{name}_port"))
