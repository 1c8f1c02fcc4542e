# The ESP32's `esp32.NVS`, in a file beside the image; what is not committed is lost at a reset.

import json
from binascii import a2b_base64, b2a_base64

_NOT_FOUND = -0x1102  # ESP_ERR_NVS_NOT_FOUND


def start(spec):
    global _file, _kept
    _file = open(spec["nvs"], "r+b")
    text = _file.read()
    _kept = json.loads(text) if text else {}


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
        _kept[self._name] = dict(self._values)
        # A fixed-size record, written in one go: a cut leaves the old text or the new one.
        text = json.dumps(_kept).encode()
        _file.seek(0)
        _file.write(text + b" " * 64)

    def _get(self, key):
        if key not in self._values:
            raise OSError(_NOT_FOUND, "ESP_ERR_NVS_NOT_FOUND")
        return self._values[key]
