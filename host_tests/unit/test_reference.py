"""The firmware's table of fields, and what people are told of it, are one."""

import re

from firstboot import config as board

from tools import config
from tools.places import FIRMWARE, ROOT

README = ROOT / "README.md"


def test_every_field_is_explained():
    names = {row[0] for row in board.fields()}
    assert set(config.HELP) == names, "say in HELP of tools/config/fields.py what each field is for"
    assert all(config.HELP.values())


def test_the_readme_has_the_reference():
    missing = [line for line in config.reference().splitlines() if line not in README.read_text().splitlines()]
    assert not missing, "put into README.md what `python -m tools.cli config fields --markdown` prints"


def test_what_the_board_hides_is_secret_to_the_tools():
    boot = (FIRMWARE / "firstboot" / "boot.py").read_text()
    hidden = re.search(r"secret = \((.*?)\)", boot, re.S)
    assert set(re.findall(r'"(.*?)"', hidden[1])) == set(config.SECRETS)
