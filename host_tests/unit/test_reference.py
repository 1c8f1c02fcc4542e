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


def test_every_section_of_the_contract_that_is_cited_has_its_subject_in_the_readme():
    table = README.read_text().partition("| Contract | Subject |\n|---|---|\n")[2].partition("\n\n")[0]
    subjects = set(re.findall(r"^\| ([\d.]+) \|", table, re.M))
    cited = {}
    for folder in ("firmware", "tools", "host_tests"):
        for path in (ROOT / folder).rglob("*.py"):
            for sections in re.findall(r"\bcontract[\s#]+(\d[\d., and to]*)", path.read_text()):
                cited.update(dict.fromkeys(re.findall(r"\d+(?:\.\d+)?", sections), path))
    assert len(cited) > 15
    assert {section: path for section, path in cited.items() if section not in subjects} == {}


def test_what_the_board_hides_is_secret_to_the_tools():
    boot = (FIRMWARE / "firstboot" / "boot.py").read_text()
    hidden = re.search(r"secret = \((.*?)\)", boot, re.S)
    assert set(re.findall(r'"(.*?)"', hidden[1])) == set(config.SECRETS)
