"""The pictures of the panel's page can be taken anew: every part can be reached by clicks, with the real engine."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.slow
def test_the_script_reaches_every_part_and_finds_nothing_to_complain_of(screen, tmp_path):
    done = subprocess.run(
        [sys.executable, ROOT / "scripts" / "panel_page.py", tmp_path / "made", "--panel-width", "320"],
        env={**os.environ, "PYTHONPATH": str(ROOT / "src")},
        capture_output=True,
        text=True,
        check=False,
        timeout=1200,
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    page = (ROOT / "docs" / "panel.md").read_text("utf-8")
    shown = set(re.findall(r"images/panel/(\w+\.png)", page))
    assert {path.name for path in (tmp_path / "made").iterdir()} == shown
