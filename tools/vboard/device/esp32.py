# The ESP32's `esp32.NVS`, in a file beside the image; what is not committed is lost at a reset.
#
# Each entry that changed is an operation of the flash. An entry has a CRC and replaces the old one at the end of its
# writing, so a cut in the middle leaves the old one (ESP-IDF, "Non-volatile storage", Consistency).

import json
from binascii import a2b_base64, b2a_base64

_NOT_FOUND = -0x1102  # ESP_ERR_NVS_NOT_FOUND


def start(spec, count):
    global _file, _kept, _count, _size
    _file = open(spec["nvs"], "r+b")
    text = _file.read()
    _size = len(text)
    _kept = json.loads(text) if text else {}
    _count = count


class NVS:
    def __init__(self, namespace):
        self._name = namespace
        self._values = dict(_kept.get(namespace, {}))

    def get_blob(self, key, buffer):
        value = a2b_base64(self._get(key))
        buffer[: len(value)] = value
        return len(value)

    def set_blob(self, key, value):
        self._values[key] = b2a_base64(value).decode()

    def get_i32(self, key):
        return self._get(key)

    def set_i32(self, key, value):
        self._values[key] = value

    def erase_key(self, key):
        self._get(key)
        del self._values[key]

    def commit(self):
        kept = _kept.setdefault(self._name, {})
        for key in set(kept) | set(self._values):
            if kept.get(key) != self._values.get(key):
                _count("nvs", lambda part, key=key: part == 2 and self._write(kept, key))

    def _write(self, kept, key):
        if key in self._values:
            kept[key] = self._values[key]
        else:
            del kept[key]
        global _size
        text = json.dumps(_kept).encode()
        _file.seek(0)
        _file.write(text + b" " * (_size - len(text)))  # in one go, over all that was there
        _size = max(_size, len(text))

    def _get(self, key):
        if key not in self._values:
            raise OSError(_NOT_FOUND, "ESP_ERR_NVS_NOT_FOUND")
        return self._values[key]
