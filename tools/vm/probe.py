"""Ask a VM what it is, by running it."""

import json
import subprocess
from dataclasses import dataclass
from pathlib import Path

from ..places import OLDEST_MICROPYTHON
from .errors import VmError

# ffi is how the virtual board gets a watchdog and an abrupt end; the rest is what firmware uses.
_NEEDED = ("vfs.VfsLfs2", "socket", "select", "tls", "ffi", "json", "asyncio")

_SCRIPT = """
import json, sys
missing = []
for name in sys.argv[1:]:
    module, _, attribute = name.partition('.')
    try:
        found = __import__(module)
        if attribute and not hasattr(found, attribute):
            missing.append(name)
    except ImportError:
        missing.append(name)
print(json.dumps({'name': sys.implementation[0], 'version': list(sys.implementation[1])[:3],
                  'bits': 32 if sys.maxsize < 1 << 31 else 64, 'missing': missing}))
"""


@dataclass(frozen=True)
class Vm:
    """A MicroPython unix VM that starts and has all that a virtual board needs."""

    command: tuple[str, ...]
    """What to put before the VM's own arguments."""
    version: tuple[int, int, int]
    bits: int
    """Size of an object word: 32 as on ESP32 and RP2040, or 64, where heap figures come out about double."""
    source: str
    """Where it came from: "$MICROPYTHON", or the Debian suite."""

    @property
    def path(self) -> Path:
        """The VM's executable."""
        return Path(self.command[-1])

    @property
    def release(self) -> str:
        """The version as text, such as "1.25.0"."""
        return ".".join(map(str, self.version))


def probe(command: tuple[str, ...], source: str) -> Vm:
    """Run the VM once. VmError says what is wrong with it, or what it lacks."""
    try:
        done = subprocess.run([*command, "-c", _SCRIPT, *_NEEDED], capture_output=True, text=True, timeout=30)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise VmError(f"{source}: {command[-1]} does not start: {error}") from error
    try:
        facts = json.loads(done.stdout)
    except ValueError:
        said = (done.stderr or done.stdout).strip()
        raise VmError(f"{source}: {command[-1]} is no MicroPython VM: {said[:300]}") from None
    release = ".".join(map(str, facts["version"]))
    if facts["name"] != "micropython" or tuple(facts["version"]) < OLDEST_MICROPYTHON:
        raise VmError(f"{source}: {command[-1]} is {facts['name']} {release}; it takes MicroPython 1.23 or newer")
    if facts["missing"]:
        raise VmError(f"{source}: {command[-1]} (MicroPython {release}) lacks {', '.join(facts['missing'])}")
    return Vm(command, tuple(facts["version"]), facts["bits"], source)
