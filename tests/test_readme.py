"""The README's example prints what the README says."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

README = (Path(__file__).parent.parent / "README.md").read_text()


@pytest.mark.ngspice
def test_example_prints_what_is_shown_and_leaves_a_netlist(tmp_path):
    (code,) = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    (shown,) = re.findall(r"prints\n\n```\n(.*?)```", README, re.DOTALL)
    run = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert run.stdout == shown
    deck = subprocess.run(
        ["ngspice", "-n", "-b", "nudged.cir"], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert "v(energy)" in deck.stdout


def test_every_file_that_is_linked_exists():
    for target in re.findall(r"\]\((?!http)([^)#]+)\)", README):
        assert (Path(__file__).parent.parent / target).exists(), target
