"""The fault proxies: what passes, what does not, and that a seed means the same again."""

import contextlib
import socket
import socketserver
import threading
import time

import pytest

from tools.standin import Standin
from tools.standin.faults import Fault, TcpProxy, UdpProxy, Way, Weather


class Echo(socketserver.BaseRequestHandler):
    def handle(self):
        with contextlib.suppress(OSError):
            while data := self.request.recv(4096):
                self.request.sendall(data)


class UdpEcho(socketserver.BaseRequestHandler):
    def handle(self):
        data, sock = self.request
        sock.sendto(data, self.client_address)


def serving(server):
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    yield server.server_address[1]
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def echo():
    socketserver.ThreadingTCPServer.daemon_threads = True
    yield from serving(socketserver.ThreadingTCPServer(("127.0.0.1", 0), Echo))


@pytest.fixture
def udp_echo():
    yield from serving(socketserver.UDPServer(("127.0.0.1", 0), UdpEcho))


def talk(port, data, patience=10.0):
    """Send, read until as much came back or the connection ended; (what came, how it ended)."""
    got = b""
    try:
        with socket.create_connection(("127.0.0.1", port), patience) as sock:
            sock.settimeout(patience)
            sock.sendall(data)
            while len(got) < len(data):
                part = sock.recv(4096)
                if not part:
                    return got, "closed"
                got += part
    except TimeoutError:
        return got, "stalled"
    except ConnectionRefusedError:
        return got, "refused"
    except OSError:
        return got, "reset"
    return got, "whole"


def test_a_clean_proxy_passes_everything(echo):
    with TcpProxy(echo) as proxy:
        assert talk(proxy.port, b"0123456789" * 1000) == (b"0123456789" * 1000, "whole")
        assert proxy.wait_for(lambda p: not p.links[0].is_open)
        assert bytes(proxy.links[0].up) == bytes(proxy.links[0].down) == b"0123456789" * 1000
        assert proxy.links[0].ended == "up: end of stream"


@pytest.mark.parametrize("count", [0, 1, 7, 9])
@pytest.mark.parametrize("way", ["up", "down"])
@pytest.mark.parametrize("reset", [False, True])
def test_cut_after_n_bytes(echo, count, way, reset):
    with TcpProxy(echo, Fault(**{way: Way(cut=count)}, reset=reset)) as proxy:
        got, end = talk(proxy.port, b"0123456789")
        assert end in ("closed", "reset")
        assert proxy.wait_for(lambda p: not p.links[0].is_open)
        link = proxy.links[0]
        assert getattr(link, f"passed_{way}") == count
        assert link.ended == f"cut after {count} bytes {way}"
        assert got == b"0123456789"[: len(got)]
        assert len(got) <= count
        assert way == "up" or len(got) == count


def test_stall_after_n_bytes_leaves_the_connection_open(echo):
    with TcpProxy(echo, Fault(down=Way(stall=4))) as proxy:
        assert talk(proxy.port, b"0123456789", patience=0.3) == (b"0123", "stalled")
        assert bytes(proxy.links[0].down) == b"0123456789"
        assert proxy.links[0].passed_down == 4


def test_delay_and_pieces(echo):
    with TcpProxy(echo, Fault(up=Way(delay=0.02, piece=2))) as proxy:
        began = time.monotonic()
        assert talk(proxy.port, b"0123456789") == (b"0123456789", "whole")
        assert time.monotonic() - began >= 5 * 0.02


def test_flip_and_corrupt(echo):
    with TcpProxy(echo, Fault(up=Way(flip=(0, 3), piece=2))) as proxy:
        assert talk(proxy.port, b"\x00\x01\x02\x03\x04")[0] == b"\xff\x01\x02\xfc\x04"
    noise = []
    for seed in (1, 1, 2):
        with TcpProxy(echo, Fault(down=Way(corrupt=0.1)), seed=seed) as proxy:
            noise.append(talk(proxy.port, bytes(2000))[0])
    assert noise[0] == noise[1] != noise[2]
    assert 100 < sum(byte != 0 for byte in noise[0]) < 300


def test_refuse_pause_and_resume(echo):
    with TcpProxy(echo, lambda number: Fault(refuse=number == 0)) as proxy:
        assert talk(proxy.port, b"abc") == (b"", "reset")
        assert talk(proxy.port, b"abc") == (b"abc", "whole")
        proxy.pause()
        assert talk(proxy.port, b"abc") == (b"", "refused")
        proxy.resume()
        assert talk(proxy.port, b"abc") == (b"abc", "whole")
        assert [link.fault.refuse for link in proxy.links] == [True, False, False]


def test_end_resets_what_is_open(echo):
    with TcpProxy(echo) as proxy, socket.create_connection(("127.0.0.1", proxy.port), 10) as sock:
        sock.sendall(b"x")
        assert sock.recv(1) == b"x"
        proxy.end()
        with pytest.raises(ConnectionResetError):
            sock.recv(1)


def test_no_server_behind_it(echo):
    with socket.create_server(("127.0.0.1", 0)) as gone:
        port = gone.getsockname()[1]
    with TcpProxy(port) as proxy:
        assert talk(proxy.port, b"abc") == (b"", "reset")
        assert proxy.links[0].ended.startswith("no server")


# Datagrams


def volley(port, count, patience=0.3):
    """Send numbered datagrams; the numbers that came back, in their order."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.connect(("127.0.0.1", port))
        sock.settimeout(patience)
        got = []
        for number in range(count):
            sock.send(b"%d" % number)
        try:
            while True:
                got.append(sock.recv(100))
        except TimeoutError:
            return got


def test_clear_weather(udp_echo):
    with UdpProxy(udp_echo) as proxy:
        assert volley(proxy.port, 50) == [b"%d" % n for n in range(50)]
        assert proxy.count() == 100
        assert proxy.count("up", "pass") == 50


def test_a_seed_means_the_same_again(udp_echo):
    fates = []
    for seed in (7, 7, 8):
        with UdpProxy(udp_echo, up=Weather(drop=0.3, double=0.2, reorder=0.2, corrupt=0.1), seed=seed) as proxy:
            volley(proxy.port, 40)
            fates.append([d.fate for d in proxy.datagrams if d.way == "up"])
    assert set(fates[0]) == {"pass", "drop", "double", "reorder", "corrupt"}
    assert len(fates[0]) == 40
    assert fates[0] == fates[1] != fates[2]


def test_decided_fates(udp_echo):
    plan = {0: "drop", 1: "double", 2: "reorder", 4: "corrupt"}
    with UdpProxy(udp_echo, decide=lambda way, number, _: plan.get(number, "pass") if way == "up" else "pass") as proxy:
        got = volley(proxy.port, 6)
        assert got[:4] == [b"1", b"1", b"3", b"2"]
        assert got[4] != b"4"
        assert got[5] == b"5"


def test_a_reordered_last_datagram_comes_late(udp_echo):
    with UdpProxy(udp_echo, down=Weather(reorder=1)) as proxy:
        assert volley(proxy.port, 1) == [b"0"]
        proxy.set_weather(reorder=0, drop=1)
        assert volley(proxy.port, 3, 0.1) == []
        assert proxy.count("up", "drop") == 3


def test_a_stopped_server_refuses_and_keeps_its_ports():
    with Standin() as server:
        ports = server.mqtt_port, server.http_port
        server.stop()
        for port in ports:
            with pytest.raises(ConnectionRefusedError):
                socket.create_connection(("127.0.0.1", port), 5).close()
            with socket.socket() as other, pytest.raises(OSError):
                other.bind(("127.0.0.1", port))
        server.start()
        assert (server.mqtt_port, server.http_port) == ports
        socket.create_connection(("127.0.0.1", ports[0]), 5).close()
