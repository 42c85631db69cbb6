"""The recipes of docs/architecture.md, run as they are written, one after the other."""

import re
from pathlib import Path

import pytest

RECIPES = re.findall(
    r"^## (.+?)$.*?^```python\n(.*?)^```",
    (Path(__file__).parent.parent / "docs" / "architecture.md").read_text(encoding="utf-8"),
    re.MULTILINE | re.DOTALL,
)


@pytest.mark.ngspice
def test_every_recipe_runs():
    assert len(RECIPES) == 6
    names: dict[str, object] = {"__name__": "recipes"}
    for title, code in RECIPES:
        exec(compile(code, title, "exec"), names)
