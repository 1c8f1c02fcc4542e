"""The figures of the fault suites, printed at the end of the run."""

import pytest

from . import effort


@pytest.hookimpl
def pytest_terminal_summary(terminalreporter):
    """A line for each test that counted something."""
    lines = [
        value
        for report in terminalreporter.getreports("passed") + terminalreporter.getreports("failed")
        if report.when == "call"
        for name, value in report.user_properties
        if name == "figures"
    ]
    if lines:
        terminalreporter.section("faults, all of them" if effort.ALL else "faults, a sample (all: make faults)")
        for line in lines:
            terminalreporter.write_line(line)
