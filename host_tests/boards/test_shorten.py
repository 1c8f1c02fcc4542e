"""The names of a release: in ROM, one for one, given back to a traceback. That it boots, virtual boards show."""

import ast
import json
import re
import subprocess
from pathlib import Path

import pytest
from typer.testing import CliRunner

from tools import shorten
from tools.build import firmware
from tools.places import FIRMWARE
from tools.vm import find

README = Path(__file__).resolve().parents[2] / "README.md"

# Prints the names of a file that are not in ROM: asking for one of these makes one more name on the heap.
NEW = """
import micropython, sys
names = open(sys.argv[1]).read().split()
print("start")
micropython.qstr_info()
for name in names:
    hasattr(micropython, name)
    print("name", name)
    micropython.qstr_info()
"""


def new_names(names, folder):
    (folder / "new.py").write_text(NEW)
    (folder / "names.txt").write_text("\n".join(names))
    command = [*find().command, str(folder / "new.py"), str(folder / "names.txt")]
    said = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True).stdout
    new, name, before = [], "", 0
    for line in said.splitlines():
        if line.startswith("name "):
            name = line[5:]
        elif "n_qstr=" in line:
            count = int(line.partition("n_qstr=")[2].partition(",")[0])
            if name and count > before:
                new.append(name)
            before = count
    return new


def test_what_names_become_costs_no_heap(tmp_path):
    assert new_names(shorten.names().values(), tmp_path) == []


def test_only_what_costs_heap_is_renamed(tmp_path):
    # What is in ROM already may be another's too: write() of a socket, path of sys.
    names = list(shorten.names())
    assert new_names(names, tmp_path) == names


def test_names_are_renamed_one_for_one():
    names = shorten.names()
    assert len(set(names.values())) == len(names) > 150
    sources = [path.read_text() for path in (FIRMWARE / "firstboot").rglob("*.py")]
    used = {word for source in sources for word in shorten.identifiers(ast.parse(source))}
    assert not used & set(names.values())


def test_a_function_keeps_its_meaning():
    source = "def connect(loop, ms=5):\n    return [loop.sample(x, end=ms) for x in loop.inbox if x != 'sample']\n"
    short = shorten.names()["sample"]
    assert shorten.shorten(source).splitlines() == [
        "def connect(id, abs=5):",
        f"    return [id.{short}(x, end=abs) for x in id.inbox if x != 'sample']",
    ]


def test_an_errand_is_called_by_its_new_name():
    call = shorten.shorten("errand('mend', 'lost', loop)")
    assert call == f"errand('mend', '{shorten.names()['lost']}', loop)"


def test_a_release_is_smaller():
    sizes = [sum(map(len, firmware(strip=True, short=short).values())) for short in (True, False)]
    assert sizes[0] < sizes[1]


@pytest.mark.parametrize("line", ["", "line 1, "])
def test_a_traceback_gets_the_sources_names_back(line):
    short = shorten.names()["lost"]
    assert shorten.long_names(f'  File "mend", {line}in {short}') == f'  File "mend", {line}in lost'
    assert shorten.long_names(f'  File "app.py", {line}in {short}') == f'  File "app.py", {line}in {short}'
    assert shorten.long_names(f'  File "mend", {line}in tick_tock') == f'  File "mend", {line}in tick_tock'


def test_a_report_gets_them_too(tmp_path):
    report = tmp_path / "crash.txt"
    report.write_text(f'Traceback (most recent call last):\n  File "mend", in {shorten.names()["lost"]}\nOSError: 5\n')
    done = CliRunner().invoke(shorten.app, [str(report)])
    assert done.output == 'Traceback (most recent call last):\n  File "mend", in lost\nOSError: 5\n'
    done = CliRunner().invoke(shorten.app, ["--json"], input=report.read_text())
    assert json.loads(done.stdout)["lines"][1] == '  File "mend", in lost'


def test_a_report_with_noise_in_it(tmp_path):
    report = tmp_path / "serial.log"
    report.write_bytes(b"\xff\r\nOSError: 5\r\n")
    for arguments in ({"args": [str(report)]}, {"args": [], "input": report.read_bytes()}):
        assert CliRunner().invoke(shorten.app, **arguments).output == "\ufffd\nOSError: 5\n"


def test_the_readmes_example_is_of_this_build():
    block = README.read_text().partition("A traceback has the other names:\n\n```\n")[2].partition("```")[0]
    reported, _, traced = block.partition("$ firstboot trace report.txt\n")
    names = shorten.names()
    assert any(f", in {name}\n" in traced for name in names)
    wanted = re.sub(r"(?<=, in )\w+", lambda found: names.get(found[0], found[0]), traced)
    assert reported == wanted, "put these names into README.md's example of a traceback"
    assert "\n".join(map(shorten.long_names, reported.split("\n"))) == traced
