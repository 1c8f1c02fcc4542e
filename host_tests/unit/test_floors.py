"""Who may know whom: the firmware's modules floor by floor, as the README's table has them, and tools without tests."""

import ast
import re
from graphlib import TopologicalSorter

from tools.places import FIRMWARE, ROOT

PACKAGE = FIRMWARE / "firstboot"
NAMES = {path.relative_to(PACKAGE).with_suffix("").as_posix() for path in PACKAGE.rglob("*.py")} - {"__init__"}
CALLS = ("errand", "_errand")


def floors():
    """Floor -> its modules and folders ("link/"), from top to bottom."""
    table = (ROOT / "README.md").read_text().partition("| Floor | Modules |\n|---|---|\n")[2].partition("\n\n")[0]
    rows = [line.strip("| ").split(" | ") for line in table.splitlines()]
    return {floor: re.findall(r"`(.+?)`", modules) for floor, modules in rows}


FLOORS = floors()


def floors_of(module):
    """The floors that name a module ("telemetry", "link/mqtt"), or a folder ("link/")."""
    folder = module.partition("/")[0] + "/"
    return [floor for floor, names in FLOORS.items() if module in names or folder in names]


def known(module):
    """The modules that one knows, by import or by errand; a folder where its errand is any of one."""
    folder = module.rpartition("/")[0]
    for node in ast.walk(ast.parse((PACKAGE / f"{module}.py").read_text())):
        if isinstance(node, ast.ImportFrom) and node.level:
            package = folder if node.level == 1 else ""
            base = "/".join(filter(None, [package, (node.module or "").replace(".", "/")]))
            for name in node.names:
                place = f"{base}/{name.name}".strip("/")
                yield place if place in NAMES else f"{base}/__init__" if f"{base}/__init__" in NAMES else base
        elif isinstance(node, ast.Call) and getattr(node.func, "id", None) in CALLS:
            yield from (text.replace(".", "/") for text in _texts(node.args[0]))


def _texts(node):
    # What a text begins with, whichever way it goes: "a", "a" + b, "a" if b else "c".
    if isinstance(node, ast.IfExp):
        return [*_texts(node.body), *_texts(node.orelse)]
    if isinstance(node, ast.BinOp):
        node = node.left
    return [node.value] if isinstance(node, ast.Constant) and isinstance(node.value, str) else []


def graph():
    """Module -> the modules on floors that it knows; slices, which may be left out, stand beside the floors."""
    found = {}
    for module in NAMES:
        if floors_of(module) != ["slices"]:
            found[module] = {name for name in known(module) if name and floors_of(name) != ["slices"]} - {module}
    return found


def test_every_module_has_one_floor():
    assert {module: floors_of(module) for module in NAMES if len(floors_of(module)) != 1} == {}
    gone = [name for names in FLOORS.values() for name in names if not (PACKAGE / name.rstrip("/")).is_dir()]
    assert sorted(set(gone) - NAMES) == []


def test_no_module_knows_one_on_a_floor_above():
    order = list(FLOORS)
    edges = [(module, name) for module, names in graph().items() for name in names]
    assert {("server_link", "link/"), ("telemetry", "connect"), ("link/mqtt", "link/__init__")} <= set(edges)
    above = [(m, name) for m, name in edges if order.index(floors_of(name)[0]) < order.index(floors_of(m)[0])]
    assert above == []


def test_only_outbox_and_drain_know_each_other():
    found = graph()
    found["outbox"].remove("drain")  # which empties what the other fills
    TopologicalSorter(found).prepare()  # CycleError names whoever else does, on whatever way round


def test_the_tools_do_without_the_tests():
    assert [str(path) for path in (ROOT / "tools").rglob("*.py") if "host_tests" in path.read_text()] == []
