"""Fuzzing by coverage: atheris keeps the inputs by which the firmware takes a branch that it had not taken before.

libFuzzer ends the process that it runs in, so each reader has one of its own:
python -m faults.hostile.guided NAME RUNS SEED FOLDER [WEAKNESS]
"""

import os
import re
import subprocess
import sys
from binascii import crc32
from pathlib import Path

from . import cpython, mutate, seeds


def hunt(name, runs, seed, folder, weakness=""):
    """(inputs, branches that they take, what comes out or ""); inputs that find something stay in `folder`."""
    number = crc32(f"{seed}/{name}".encode()) or 1  # 0 is any seed
    command = [sys.executable, "-m", __name__, name, str(runs), str(number), str(folder), weakness]
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    ended = subprocess.run(command, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, cwd=folder)
    said = ended.stdout.decode(errors="replace")
    counts = re.findall(r"^#(\d+)\s+\w+\s+cov: (\d+)", said, re.MULTILINE)
    done, branches = map(int, counts[-1]) if counts else (0, 0)
    return done, branches, f"{name}: {said[-4000:]}" if ended.returncode else ""


def _instrument():
    # The firmware's modules tell atheris which branches they take.
    import micro
    from atheris import patch_code

    get_code = micro._Loader.get_code
    micro._Loader.get_code = lambda loader, name: patch_code(get_code(loader, name), True)


def _main(name, runs, seed, folder, weakness):
    import atheris

    corpus = Path(folder) / f"corpus-{name.replace(' ', '-')}"
    corpus.mkdir()
    for i, data in enumerate(seeds.seeds()[name]):
        (corpus / str(i)).write_bytes(data)
    _instrument()
    cpython.start()
    target = cpython.reader(name, weakness)
    options = (f"-runs={runs}", f"-seed={seed}", f"-max_len={mutate.MOST}", f"-artifact_prefix={folder}/")
    atheris.Setup([sys.argv[0], *options, str(corpus)], target)
    atheris.Fuzz()


if __name__ == "__main__":
    _main(*sys.argv[1:])
