"""A first boot on the VM against a stand-in behind a proxy that does what a case says; one bench a process.

The board is the power-cut simulator's: the whole firmware on flash, from the first line of its log on.
"""

import json
import re
import tempfile
import time
from base64 import b64encode
from pathlib import Path

from tools.build import compile_file
from tools.keys import make_authority
from tools.shorten import shorten
from tools.standin.provisioning import X509_CHAIN

from ..powercut import simulator
from ..powercut.simulator import DONE, NAIVE, PATIENCE
from .cases import CONFLICT, SLACK, SLOW, TIMEOUT, Between, Outcome

STAMP = re.compile(r"^ *(\d+\.\d{3}) ")
VERBS = 3  # of the link between two lines of the log, at most: log in, one sample, one report
# Each wait has a deadline of its own, so that the sum of them has none.
NAIVE_DEADLINES = """\
from firstboot.link import Wire

ready = Wire.ready


def wait(wire, step):
    wire.within(wire.timeout)
    return ready(wire, step)


Wire.ready = wait
import firstboot

firstboot.run()
"""


def naive(kind):
    """Files that make the firmware naive."""
    if kind == "handshake":
        return {
            "/lib/firstboot/provision.mpy": compile_file(NAIVE / "provision.py", "firstboot/provision.py", short=True)
        }
    return {"/main.py": shorten(NAIVE_DEADLINES).encode()} if kind else {}


class Bench(simulator.Bench):
    """The stand-in, the proxy and the board; run() is called for one case after the other."""

    def __init__(self, setting):
        self.setting = setting
        self.earlier = set()
        server = {"host": "localhost" if setting.tls else "127.0.0.1", "timeout": TIMEOUT}
        scenario = simulator.Scenario(
            str(setting),
            credentials=setting.mode,
            strategy=setting.strategy,
            release=setting.release,
            transport=setting.transport,
            tls=setting.tls,
            files=naive(setting.naive),
            config={"server": server, "period": 0.5},  # long enough for one sample only, where nothing goes wrong
        )
        super().__init__(scenario)
        self.__enter__()
        self.between = Between(setting, self.standin)
        if setting.mode == "chain":
            self.folder = tempfile.TemporaryDirectory()
            self.authority = make_authority(
                Path(self.folder.name, "ca"), Path(self.folder.name, "root"), "lab", 5, None
            )
            self.standin.add_profile(
                "chain", X509_CHAIN, self.authority.provision_key, None, pattern="(.*)", allow_create=True
            )
        config = self.stage.config
        config["server"]["port"] = self.between.proxy.port
        self.image.put({"/config.json": json.dumps(config).encode()})
        self.flash = self.image.path.read_bytes()

    def close(self):
        """Let go of the ports."""
        self.between.close()
        self.__exit__()
        if self.setting.mode == "chain":
            self.folder.cleanup()

    def board(self, **more):
        """Each case's board is another one: what a slow network still has of an earlier one is not from this one."""
        return super().board(uid=(len(self.earlier) << 8).to_bytes(6, "big"), **more)

    def devices(self):
        """What the server has, but for those that an earlier case's network brings late."""
        return [device for device in self.standin.devices() if device.name not in self.earlier]

    def rewind(self):
        """Board and server are at their beginning; in mode "chain" the factory has given it its certificate."""
        super().rewind()
        if self.setting.mode == "chain" and self.earlier:
            made = self.authority.issue(Path(self.folder.name, self.name), self.name, 100).folder
            self.image.put({f"/{name}": (made / name).read_bytes() for name in ("cert.der", "key.der")})

    def wrong(self):
        """What is wrong with a board that sends telemetry; None when nothing is."""
        if self.setting.mode == "chain":
            chain = self.image.get("/cert.der")
            leaf = b64encode(chain[: 4 + int.from_bytes(chain[2:4], "big")]).decode()
            if [device.credentials.value for device in self.devices()] != [leaf]:
                return "the server's certificate is not the board's"
        return super().wrong()

    def run(self, case=None):
        """One first boot with this fault; returns the Outcome."""
        self.earlier.add(self.name)
        self.rewind()
        self.between.prepare(case)
        began = time.monotonic()
        ended = "right"
        with self.board() as board:
            for times in range(1, 5):  # once, but where the machine is so busy that an answer is late once more
                if not self._stays_out(board, times * SLOW):
                    break
                ended = "operator" if self.setting.may_need_operator else "locked out"
                self.operate()
            run, sizes = board.run_so_far, self.between.sizes()
            if not run.has(DONE):
                ended = f"not provisioned ({run.ended or 'stuck'})"
        seconds = time.monotonic() - began
        longest = _longest(run)
        if ended in ("right", "operator"):
            ended = self.wrong() or _wrong(run) or ended
        if longest > VERBS * TIMEOUT + SLACK:
            ended = f"a verb took {longest:.1f} s"
        return Outcome(case, ended, seconds, longest, "" if ended == "right" else run.log, sizes)

    def _stays_out(self, board, times):
        # Whether it says so often that the server's device has other credentials: it goes on asking.
        def said(run):
            return run.log.count(CONFLICT) >= times

        board.wait(lambda run: bool(run.ended) or run.has(DONE) or said(run), PATIENCE)
        return said(board.run_so_far) and not board.run_so_far.has(DONE)


def _wrong(run):
    # What is wrong with the log.
    if not all(STAMP.match(line) for _, line in run.lines):
        return "an exception came out, or an event has more than one line"
    if run.log.count(CONFLICT) > run.log.count("the server answers FAILURE"):
        return "said twice what it is to say once"
    return None


def _longest(run):
    # Seconds between two lines of the log, by the board's own clock.
    times = [float(found[1]) for _, line in run.lines if (found := STAMP.match(line))]
    return max((b - a for a, b in zip(times, times[1:], strict=False)), default=0)
