"""Virtual boards at ports that look like USB ports, for the tests of flash, monitor and doctor."""

import contextlib
import json
import os
from types import SimpleNamespace

from typer.testing import CliRunner

from tools import boards
from tools.cli import app
from tools.vboard import Image, VirtualBoard


def firstboot(*arguments):
    """Run the command-line program."""
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def document(*arguments):
    """The program's --json, and the exit code."""
    done = firstboot(*arguments, "--json")
    assert done.stdout, done.stderr
    return json.loads(done.stdout), done.exit_code


class Box:
    """Boards plugged into this computer; pyserial's list of ports says so."""

    def __init__(self, folder, monkeypatch):
        self.folder = folder
        self.boards = {}
        self.ports = []
        monkeypatch.setattr("tools.flash.ports.comports", self.listed)

    def plug(self, serial, kind="ESP32_GENERIC", blocks=256, files=None, **more):
        """A board more, with an empty flash but for `files`."""
        image = Image(self.folder / serial).format(blocks)
        image.put(files or {})
        board = self.boards[serial] = VirtualBoard(image, kind, **more)
        self.list(board.serial(), serial, kind)
        self.ports[-1].is_new = board.blank
        board.start()
        return board

    def list(self, device, serial, kind="ESP32_GENERIC"):
        """A port more in the list."""
        vid, pid = (int(part, 16) for part in boards.load(kind).usb[0].split(":"))
        self.ports.append(
            SimpleNamespace(
                device=device, serial_number=serial, vid=vid, pid=pid, product=kind, description=kind, is_new=False
            )
        )

    def listed(self):
        """What comports() answers: a board in its boot ROM has no port."""
        return [port for port in self.ports if not port.is_new or os.path.exists(port.device)]

    def path(self, serial):
        """The port of a board."""
        return self.boards[serial].serial()


@contextlib.contextmanager
def box(folder, monkeypatch):
    """A box of boards; the power goes off at the end."""
    found = Box(folder, monkeypatch)
    try:
        yield found
    finally:
        for board in found.boards.values():
            board.stop()
