"""Runs a file of cases on a virtual board: the firmware has HEAP bytes beside what the harness itself holds."""

import re
from pathlib import Path

from tools import measure
from tools.build import compile_file, firmware, microcoapy
from tools.vboard import Image, VirtualBoard

from . import targets

HERE = Path(__file__).parent
HEAP = 32 * 1024  # with what a port's pools take for the firmware's names
_ROOMY = 512 * 1024

APP = b"""\
def read():
    return {"t": 1}


def on_rpc(method, params):
    return {"method": method, "params": params}


def on_attributes(values):
    pass
"""

# Names of its own that the harness makes, so that its 510 and the firmware's 200 don't open MicroPython's pool for 640,
# 4.5 KB in one piece, in the firmware's share.
_FILLERS = 120
# The cases and the firmware come straight from the host's file system, which holds no heap and is quick.
MAIN = """\
import gc, sys, vfs
vfs.mount(vfs.VfsPosix(%(folder)r), "/host")
sys.path.insert(0, "/host/lib")
import targets
for i in range(%(fillers)d):
    hasattr(sys, "filler %%d" %% i)
gc.collect()
print("HELD", gc.mem_alloc())
def told(number, error):
    print("FIND", number, repr(error))
    sys.print_exception(error)
if %(name)r:
    print("RESULT", *targets.run_file("/host/cases", %(name)r, told))
"""


class Lab:
    """A folder with the firmware and the harness, for boards that fuzz it."""

    def __init__(self, folder):
        self.folder = Path(folder)
        files = {**firmware(strip=True, short=False), **microcoapy(strip=True), "/lib/hostile_app.py": APP}
        files["/lib/targets.mpy"] = compile_file(HERE / "targets.py", strip=True)
        for place, data in files.items():
            path = self.folder / place.lstrip("/")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
        self.image = Image(self.folder / "flash")
        self.held = int(re.search(r"HELD (\d+)", self._run("", _ROOMY, 60).log)[1])

    def run(self, name, inputs, heap=HEAP, timeout=600):
        """(cases, finds, bytes that the heap has grown by, log) of these inputs on the target `name`."""
        count = 0
        with open(self.folder / "cases", "wb") as f:
            for data in inputs:
                f.write(len(data).to_bytes(2, "big") + data)
                count += 1
        run = self._run(name, self.held + targets.ROOM + heap - measure.POOLS[300], timeout)
        found = re.search(r"RESULT (\d+) (\d+) (-?\d+)", run.log)
        if not found:
            raise AssertionError(f"{name}: the board ended by {run.ended}\n{run.log[-3000:]}")
        assert int(found[1]) == count
        return int(found[1]), int(found[2]), int(found[3]), run.log

    def _run(self, name, heap, timeout):
        main = MAIN % {"folder": str(self.folder), "name": name, "fillers": _FILLERS}
        self.image.format().put({"/main.py": main.encode()})
        return VirtualBoard(self.image, heap=heap).run(lambda run: False, timeout)
