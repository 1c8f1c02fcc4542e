"""The README's way to test an app of one's own works as it stands there."""

import re
import subprocess
import sys

import pytest

from tools.places import FIRMWARE, ROOT

pytestmark = pytest.mark.vm


def test_the_readmes_tests_of_an_app(tmp_path):
    section = (ROOT / "README.md").read_text().partition("## Testing your app on the host")[2].partition("\n## ")[0]
    (source,) = re.findall(r"```python\n(.*?)```", section, re.S)
    (tmp_path / "test_app.py").write_text(source)
    (tmp_path / "app.py").write_bytes((FIRMWARE / "app.py").read_bytes())
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "test_app.py"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=100)
    assert done.returncode == 0 and "2 passed" in done.stdout, done.stdout + done.stderr
