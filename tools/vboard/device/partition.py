# The ESP32's `esp32.Partition`, as far as app partitions go: two of them in a file beside the image, if the board has
# an image of MicroPython with OTA; else the one that runs, with no other to update.
#
# Like NVS, the file is mapped, and read and written by libc: nothing of it is on MicroPython's heap. Each program,
# erase and change of what boots next is an operation of the flash. Which partition runs is a name only: MicroPython is
# the VM. The bootloader is the host's (tools/vboard/bootloader.py).

import machine

_ENOENT = 2
_OTA_VALIDATE_FAILED = -0x1503  # ESP_ERR_OTA_VALIDATE_FAILED
_NEAR = 0x2C000000  # flash.py tells why
_SHARED = 1
_READ_WRITE = 3
_BLOCK = 4096
_MAGIC = 0xE9  # the first byte of an image (ESP-IDF, "App Image Format")

_load = machine.libc.func("v", "memcpy", "pll")
_store = machine.libc.func("v", "memcpy", "lpl")
_differs = machine.libc.func("i", "memcmp", "lll")
_fill = machine.libc.func("v", "memset", "lil")


def start(spec, count):
    global _app, _count, _otadata, _start
    _app = spec["app"]
    _count = count
    if _app:
        file = open(_app["file"], "r+b")
        _otadata = open(_app["otadata"], "r+b")  # before the host's files are out of reach
        mmap = machine.libc.func("l", "mmap", "llllll")
        _start = mmap(_NEAR, 2 * _app["size"], _READ_WRITE, _SHARED, file.fileno(), 0)


class Partition:
    BOOT = 0
    RUNNING = 1
    TYPE_APP = 0
    TYPE_DATA = 1

    def __init__(self, id, block_size=_BLOCK):
        if _app:
            labels = ("ota_0", "ota_1")
            self._index = labels.index(id) if id in labels else _app["running"] if id == self.RUNNING else None
            if self._index is None:
                raise OSError(_ENOENT)
            self._start = _start + self._index * _app["size"]
        elif id not in ("factory", self.RUNNING, self.BOOT):
            raise OSError(_ENOENT)

    def info(self):
        if not _app:
            return (0, 0, 0x10000, 0x1F0000, "factory", False)
        size = _app["size"]
        return (0, 16 + self._index, 0x10000 + self._index * size, size, "ota_%d" % self._index, False)

    def get_next_update(self):
        if not _app:
            raise OSError(_ENOENT)
        return Partition("ota_%d" % (1 - self._index))

    def readblocks(self, n, buffer, offset=0):
        _load(buffer, self._start + n * _BLOCK + offset, len(buffer))

    def writeblocks(self, n, buffer, offset=None):
        if offset is None:
            self.ioctl(6, n)
            offset = 0
        # Programming turns ones into zeros only: what was not erased before is the two of them together.
        at = self._start + n * _BLOCK + offset
        old = bytearray(1)
        _load(old, at, 1)
        if old[0] != 255 or _differs(at, at + 1, len(buffer) - 1):
            old = bytearray(len(buffer))
            _load(old, at, len(old))
            buffer = bytes([old[i] & buffer[i] for i in range(len(old))])
        _count("app", lambda part: _store(at, buffer, len(buffer) * part // 2))

    def ioctl(self, operation, argument):
        if operation == 4:
            return _app["size"] // _BLOCK
        if operation == 5:
            return _BLOCK
        if operation == 6:
            at = self._start + argument * _BLOCK
            _count("app", lambda part: _fill(at, 255, _BLOCK * part // 2))
            return 0

    def set_boot(self):
        if not _app:
            raise OSError(_ENOENT)  # esp_ota_set_boot_partition() finds no otadata to write it to
        magic = bytearray(1)
        self.readblocks(0, magic)
        if magic[0] != _MAGIC:
            raise OSError(_OTA_VALIDATE_FAILED, "ESP_ERR_OTA_VALIDATE_FAILED")
        _boot_next(self._index, "new")

    @classmethod
    def mark_app_valid_cancel_rollback(cls):
        _boot_next(_app["running"], "valid")


def _boot_next(index, state):
    def write(part):
        if part == 2:
            _otadata.seek(0)
            _otadata.write(b"%d %-8s" % (index, state))

    _count("otadata", write)
