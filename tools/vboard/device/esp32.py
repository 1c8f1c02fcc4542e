# The ESP32's `esp32.NVS`, in a file beside the image; what is not committed is lost at a reset.
#
# A line of the file is an entry: namespace, key, value, the value in base64 or a number. Nothing of them is on the heap
# between two calls, as the real one's are not. Each entry that changed is an operation of the flash. An entry has a
# CRC and replaces the old one at the end of its writing, so a cut in the middle leaves the old one (ESP-IDF,
# "Non-volatile storage", Consistency).

from binascii import a2b_base64, b2a_base64

_NOT_FOUND = -0x1102  # ESP_ERR_NVS_NOT_FOUND
_INVALID_LENGTH = -0x110C  # ESP_ERR_NVS_INVALID_LENGTH


def start(spec, count):
    global _file, _count
    _file = open(spec["nvs"], "r+b")
    _count = count


class NVS:
    def __init__(self, namespace):
        self._name = namespace.encode()
        self._changes = {}

    def get_blob(self, key, buffer):
        value = a2b_base64(self._get(key))
        if len(value) > len(buffer):
            raise OSError(_INVALID_LENGTH, "ESP_ERR_NVS_INVALID_LENGTH")
        buffer[: len(value)] = value
        return len(value)

    def set_blob(self, key, value):
        self._changes[key] = b2a_base64(value)[:-1]

    def get_i32(self, key):
        return int(self._get(key))

    def set_i32(self, key, value):
        self._changes[key] = b"%d" % value

    def erase_key(self, key):
        self._get(key)
        self._changes[key] = None

    def commit(self):
        while self._changes:
            key, value = self._changes.popitem()
            if value != self._kept(key):
                _count("nvs", lambda part, key=key, value=value: part == 2 and self._write(key, value))

    def _get(self, key):
        value = self._changes[key] if key in self._changes else self._kept(key)
        if value is None:
            raise OSError(_NOT_FOUND, "ESP_ERR_NVS_NOT_FOUND")
        return value

    def _kept(self, key):
        start = b"%s %s " % (self._name, key)
        _file.seek(0)
        for line in _file:
            if line.startswith(start):
                return line[len(start) : -1]

    def _write(self, key, value):
        start = b"%s %s " % (self._name, key)
        _file.seek(0)
        old = _file.read()
        new = b"" if value is None else start + value + b"\n"
        for line in old.split(b"\n"):
            if line and not line.startswith(start):
                new += line + b"\n"
        _file.seek(0)
        _file.write(new + b"\n" * (len(old) - len(new)))  # in one go, over all that was there
