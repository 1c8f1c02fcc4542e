"""A first boot on CPython against a stand-in behind a proxy that does what a case says; one bench a process.

The firmware's own link, handshake and store run; the flash is in memory. Time is scaled: server.timeout is TIMEOUT
seconds, and the pauses of the back-off are as short.
"""

import contextlib
import importlib.util
import io
import itertools
import os
import tempfile
import time
from pathlib import Path
from unittest import mock

from tools.standin import Standin
from tools.standin.provisioning import PRE_PROVISIONED

from .cases import CONFLICT, SLACK, SLOW, TIMEOUT, Between, Outcome, is_same

PAUSE = 0.01
MOST_PAUSES = 40  # of a board that never gets anywhere
FLEET_SECRET = "the fleet's own secret"


class Stuck(BaseException):
    """The board has paused often enough."""


class Bench:
    """The stand-in, the proxy and the board; run() is called for one case after the other."""

    def __init__(self, setting):
        self.setting = setting
        self.folder = tempfile.TemporaryDirectory()
        os.chdir(self.folder.name)
        self.standin = Standin(release=setting.release, scale=0.02, **({"tls": True} if setting.tls else {})).start()
        self.profile = self.standin.add_profile(strategy=setting.strategy)
        self.between = Between(setting, self.standin)
        if setting.tls:
            Path("ca.der").write_bytes(Path(self.standin.ca_der).read_bytes())
        self.names = (f"board-{i}" for i in itertools.count(1))
        self.patch = naive_deadlines() if setting.naive == "deadlines" else None

    def close(self):
        """Let go of the ports, and of what was naive."""
        if self.patch:
            self.patch.stop()
        self.between.close()
        self.standin.__exit__()
        self.folder.cleanup()

    def run(self, case=None):
        """One first boot with this fault; returns the Outcome."""
        name = next(self.names)
        if self.setting.strategy == PRE_PROVISIONED:
            self.standin.add_device(name, self.profile, f"prepared-for-{name}")
        self.between.prepare(case)
        out = io.StringIO()
        began = time.monotonic()
        with contextlib.redirect_stdout(out):
            ended, spans = self._boot(name)
        seconds = time.monotonic() - began
        longest = max(spans, default=0)
        if longest > TIMEOUT + SLACK:
            ended = f"a verb took {longest:.1f} s"
        elif seconds > len(spans) * TIMEOUT + 2 * SLACK:
            ended = f"took {seconds:.1f} s, {len(spans)} verbs"
        if ended in ("right", "operator") and out.getvalue().count(CONFLICT) != self.operations * SLOW:
            ended = "said the wrong thing"
        return Outcome(case, ended, seconds, longest, "" if ended == "right" else out.getvalue(), self.between.sizes())

    def _boot(self, name):
        import esp32
        from firstboot.candidate import make
        from firstboot.link import Denied
        from firstboot.store import VERIFIED, Store

        if self.setting.naive == "handshake":
            Provisioner = naive_handshake().Provisioner
        else:
            from firstboot.provision import Provisioner

        spans, slots = [], [esp32.NVS(object()), esp32.NVS(object())]  # a name for each that no other has
        pauses = itertools.count(1)
        conflicts = itertools.count(1)
        self.operations = 0

        def pause(is_slow):
            if next(pauses) > MOST_PAUSES:
                raise Stuck
            if is_slow and next(conflicts) % SLOW == 0:  # it went on asking meanwhile
                # Where the machine is so busy that an answer is late once more, the operator is asked once more.
                self.operations += 1
                self._operate(name)
            time.sleep(PAUSE)

        link = timed(self._link(), spans)
        store = Store(slots)
        try:
            own = lambda: make(self.setting.mode, name, FLEET_SECRET, os.urandom)  # noqa: E731
            if self.setting.mode == "server":
                own = lambda: None  # noqa: E731
            Provisioner(link, store, name, "profile-key", "profile-secret", own, pause).run()
            self._telemetry(link, store, pause, Denied)
        except Stuck:
            return "stuck", spans
        except Exception as e:  # noqa: BLE001 - nothing may come out; the board would start again
            return f"crashed: {e!r}", spans
        finally:
            link.close()
        store = Store(slots)
        if store.state != VERIFIED:
            return f"state {store.state}", spans
        wrong = self._wrong(name, store.credentials)
        if wrong:
            return wrong, spans
        if self.operations and not self.setting.may_need_operator:
            return "locked out", spans
        return "operator" if self.operations else "right", spans

    def _telemetry(self, link, store, pause, denied):
        # The loop's part: send until it is acknowledged.
        for _ in range(MOST_PAUSES):
            try:
                link.send(b'{"hello":1}')
                return
            except OSError:
                link.close()
            while True:
                pause(False)
                try:
                    link.open(store.credentials)
                    break
                except OSError:
                    link.close()

    def _operate(self, name):
        device = self.standin.device(name)
        if self.setting.strategy == PRE_PROVISIONED:
            self.standin.registry.delete_attributes(device.id, "SERVER_SCOPE", ["provisionState"])
        else:
            self.standin.delete_device(name)

    def _wrong(self, name, credentials):
        devices = [device for device in self.standin.devices() if device.name == name]
        if len(devices) != 1:
            return f"{len(devices)} devices"
        stored = devices[0].credentials
        if not is_same(stored, credentials):
            return "the board's credentials are not the server's"
        if not self.standin.telemetry(name):
            return "no telemetry on the server"
        self.standin.delete_device(name)
        return None

    def _link(self):
        from firstboot.config import check

        setting = self.setting
        config = check(
            {
                "server": {
                    "host": "localhost" if setting.tls else "127.0.0.1",
                    "port": self.between.proxy.port,
                    "timeout": TIMEOUT,
                },
                "tls": {"enabled": setting.tls},
                "transport": setting.transport,
                "provision": {"key": "profile-key", "secret": "profile-secret"},
            }
        )
        module = __import__(f"firstboot.link.{setting.transport}", None, None, ("Link",))
        return module.Link(config)


def timed(link, spans):
    """The link, with the seconds that its verbs took added to `spans`."""
    for verb in ("ask", "open", "send"):
        setattr(link, verb, _timed(getattr(link, verb), spans))
    return link


def _timed(verb, spans):
    def call(*args):
        began = time.monotonic()
        try:
            return verb(*args)
        finally:
            spans.append(time.monotonic() - began)

    return call


def naive_handshake():
    """The naive handshake of the power-cut simulator, as a module of the firmware's."""
    path = Path(__file__).parent.parent / "powercut" / "naive" / "provision.py"
    spec = importlib.util.spec_from_file_location("firstboot.naive", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def naive_deadlines():
    """A wire on which each wait has a deadline of its own, so that the sum of them has none."""
    from firstboot.link import Wire

    ready = Wire.ready

    def wait(wire, step):
        wire.within(wire.timeout)
        return ready(wire, step)

    patch = mock.patch.object(Wire, "ready", wait)
    patch.start()
    return patch
