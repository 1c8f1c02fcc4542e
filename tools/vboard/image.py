"""A board's flash in a file: a littlefs2 image, and beside it what the ESP32 keeps in NVS."""

from __future__ import annotations

import functools
import posixpath
from pathlib import Path

from littlefs import LittleFS, LittleFSError, UserContext

from ..image.filesystem import BLOCK, write

_PROG = 32  # the ESP32's program size; at a folder's first change an RP2 writes its log anew
NVS_ENTRY = 2560  # bytes; device/esp32.py has what is in them
NVS_SIZE = 8 * NVS_ENTRY
BLOCKS = 256  # 1 MiB; the boards' file systems have 848 KiB (Pico W) to 2 MiB (ESP32)


class Image:
    """The flash image in the file `path`; `.nvs` beside it is a partition of its own and survives format()."""

    def __init__(self, path: Path | str) -> None:
        self.path = Path(path)

    @property
    def nvs(self) -> Path:
        """The file with the ESP32's NVS partition."""
        return self.path.with_name(self.path.name + ".nvs")

    def nvs_blobs(self, namespace: str) -> dict[str, bytes]:
        """Key -> value of what the board has committed to NVS."""
        data = self.nvs.read_bytes() if self.nvs.exists() else b""
        found = {}
        for at in range(0, len(data), NVS_ENTRY):
            size = int.from_bytes(data[at : at + 4], "little") - 1
            space, _, key = data[at + 4 : at + 64].partition(b"\0")[0].decode().partition(" ")
            if size >= 0 and space == namespace:
                found[key] = data[at + 64 : at + 64 + size]
        return found

    def format(self, blocks: int = BLOCKS) -> Image:
        """Lay an empty file system, whatever was there."""
        self.path.write_bytes(_new((), blocks * BLOCK))
        return self

    def put(self, files: dict[str, bytes]) -> None:
        """Write `files` (path on the board -> content), making folders as needed."""
        fs = self._mount()
        if fs.listdir("/") == []:
            self.path.write_bytes(_new(tuple(files.items()), len(fs.context.buffer)))
            return
        for path, data in files.items():
            folder = posixpath.dirname(path)
            if folder not in ("", "/"):
                fs.makedirs(folder, exist_ok=True)
            with fs.open(path, "wb") as f:
                f.write(data)
        self.path.write_bytes(fs.context.buffer)

    def get(self, path: str) -> bytes:
        """The content of a file; FileNotFoundError."""
        fs = self._mount()  # an open file does not keep its file system alive
        with fs.open(path, "rb") as f:
            return f.read()

    def remove(self, path: str) -> None:
        """Remove a file; FileNotFoundError."""
        fs = self._mount()
        fs.remove(path)
        self.path.write_bytes(fs.context.buffer)

    def ls(self) -> dict[str, int]:
        """Path -> size in bytes of every file."""
        fs = self._mount()
        found = {}
        for folder, _, names in fs.walk("/"):
            for name in names:
                path = posixpath.join(folder, name)
                found[path] = fs.stat(path).size
        return found

    def exists(self, path: str) -> bool:
        """Whether there is such a file."""
        return path in self.ls()

    def _mount(self) -> LittleFS:
        data = bytearray(self.path.read_bytes())
        context = UserContext(buffer=data)
        fs = LittleFS(context, mount=False, block_size=BLOCK, block_count=len(data) // BLOCK)
        try:
            fs.mount()
        except LittleFSError as e:
            raise ValueError(f"{self.path} holds no littlefs file system ({e})") from e
        return fs


@functools.lru_cache(maxsize=8)
def _new(files: tuple[tuple[str, bytes], ...], size: int) -> bytes:
    # The boards of a fleet start alike.
    return bytes(write(dict(files), size, _PROG).context.buffer)
