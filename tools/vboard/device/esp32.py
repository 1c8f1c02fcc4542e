# The ESP32's `esp32.NVS`, in a file beside the image; what is not committed is lost at a reset.
#
# The file is mapped, and read and written by libc: the real one's entries and buffers are not on MicroPython's heap
# either. An entry (Image.nvs_blobs() reads them, too) is its size and one more, its name, and from byte 64 on its
# value. Each entry that changed is an operation of the flash. An entry has a CRC and replaces the old one at the end of
# its writing, so a cut in the middle leaves the old one (ESP-IDF, "Non-volatile storage", Consistency).

import machine

_NOT_FOUND = -0x1102  # ESP_ERR_NVS_NOT_FOUND
_INVALID_LENGTH = -0x110C  # ESP_ERR_NVS_INVALID_LENGTH
_NOT_ENOUGH_SPACE = -0x1105  # ESP_ERR_NVS_NOT_ENOUGH_SPACE
_NEAR = 0x28000000  # flash.py tells why
_SHARED = 1
_READ_WRITE = 3
_ENTRY = 2560
_VALUE = 64

_load = machine.libc.func("v", "memcpy", "pll")
_store = machine.libc.func("v", "memcpy", "lpl")
_differs = machine.libc.func("i", "memcmp", "lpl")


def start(spec, count):
    global _entries, _count
    file = open(spec["nvs"], "r+b")
    mmap = machine.libc.func("l", "mmap", "llllll")
    start = mmap(_NEAR, spec["nvs_size"], _READ_WRITE, _SHARED, file.fileno(), 0)
    _entries = range(start, start + spec["nvs_size"], _ENTRY)
    _count = count


class NVS:
    def __init__(self, namespace):
        self._namespace = namespace
        self._changes = {}

    def get_blob(self, key, buffer):
        if key in self._changes:
            value = self._changes[key]
            size = -1 if value is None else len(value)
        else:
            value = self._entry(key)
            size = _size(value) if value else -1
        if size < 0:
            raise OSError(_NOT_FOUND, "ESP_ERR_NVS_NOT_FOUND")
        if size > len(buffer):
            raise OSError(_INVALID_LENGTH, "ESP_ERR_NVS_INVALID_LENGTH")
        if key in self._changes:
            buffer[:size] = value
        else:
            _load(buffer, value + _VALUE, size)
        return size

    def set_blob(self, key, value):
        self._changes[key] = value

    def get_i32(self, key):
        buffer = bytearray(11)
        return int(buffer[: self.get_blob(key, buffer)])

    def set_i32(self, key, value):
        self._changes[key] = b"%d" % value

    def erase_key(self, key):
        self.get_blob(key, bytearray(_ENTRY))
        self._changes[key] = None

    def commit(self):
        while self._changes:
            key, value = self._changes.popitem()
            at = self._entry(key)
            if value is None or not at or _size(at) != len(value) or _differs(at + _VALUE, value, len(value)):
                _count("nvs", lambda part, key=key, value=value: part == 2 and self._write(key, value))

    def _entry(self, key):
        # The address of the entry; 0 where there is none.
        name = self._name(key)
        for at in _entries:
            if _size(at) >= 0 and not _differs(at + 4, name, len(name)):
                return at
        return 0

    def _write(self, key, value):
        at = self._entry(key)
        if value is None:
            return _store(at, bytes(4), 4)
        name = self._name(key)
        for free in _entries:
            if not at and _size(free) < 0:
                at = free
        if not at or len(value) > _ENTRY - _VALUE:
            raise OSError(_NOT_ENOUGH_SPACE, "ESP_ERR_NVS_NOT_ENOUGH_SPACE")
        _store(at + _VALUE, value, len(value))
        _store(at + 4, name, len(name))
        _store(at, (len(value) + 1).to_bytes(4, "little"), 4)

    def _name(self, key):
        return b"%s %s\0" % (self._namespace, key)


def _size(at):
    buffer = bytearray(4)
    _load(buffer, at, 4)
    return int.from_bytes(buffer, "little") - 1
