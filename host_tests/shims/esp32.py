"""ESP32's NVS in memory; what is not committed is lost. A test without it: `sys.modules["esp32"] = None`."""

_kept = {}


def erase():
    """An empty partition, as after erase_flash."""
    _kept.clear()


class NVS:
    def __init__(self, namespace):
        self._name = namespace
        self._values = dict(_kept.get(namespace, {}))

    def get_blob(self, key, buffer):
        value = self._get(key)
        if len(value) > len(buffer):
            raise OSError(-0x110C, "ESP_ERR_NVS_INVALID_LENGTH")
        buffer[: len(value)] = value
        return len(value)

    def set_blob(self, key, value):
        self._values[key] = bytes(value)

    def get_i32(self, key):
        return self._get(key)

    def set_i32(self, key, value):
        self._values[key] = int(value)

    def erase_key(self, key):
        self._get(key)
        del self._values[key]

    def commit(self):
        _kept[self._name] = dict(self._values)

    def _get(self, key):
        if key not in self._values:
            raise OSError(-0x1102, "ESP_ERR_NVS_NOT_FOUND")
        return self._values[key]
