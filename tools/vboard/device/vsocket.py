# `socket` as the firmware sees it: the VM's own, but nothing goes out while the Wi-Fi is down.

import network
import socket as _socket
from errno import EHOSTUNREACH

for _name in dir(_socket):
    if _name[0] != "_":
        globals()[_name] = getattr(_socket, _name)


def socket(*args):
    if not network.up():
        raise OSError(EHOSTUNREACH)
    return _socket.socket(*args)


def getaddrinfo(*args):
    if not network.up():
        raise OSError(-202)  # MBEDTLS-free lwIP ports raise this for "no DNS server could be asked"
    return _socket.getaddrinfo(*args)
