"""What a command of `firstboot` said with --json, from typer's CliRunner."""

import json


def good(said):
    """The document of a command that worked."""
    assert said.exit_code == 0, said.output
    return json.loads(said.stdout)


def error(said):
    """The error's text of one that did not."""
    assert said.exit_code == 1, said.output
    return json.loads(said.stdout)["error"]
