"""Runs the tutorials, and makes pages of them.

python tools/tutorial_pages.py docs/images/tutorials     runs all at full size, and writes the figure that each ends in
"""

from __future__ import annotations

import contextlib
import os
import re
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
FOLDER = ROOT / "tutorials"
ORDER = ("netlist", "own_circuit", "measured_device", "study", "chip", "hardware", "theory")
_CELL = re.compile(r"^# %%( \[markdown\])?$\n", re.MULTILINE)


def source(name: str, small: bool = False) -> str:
    """Text of a tutorial; small, with what stands behind "# small:" in place of what it assigns."""
    text = (FOLDER / f"{name}.py").read_text(encoding="utf-8")
    return re.sub(r"^(.+?) = .+?  # small: (.+)$", r"\1 = \2", text, flags=re.MULTILINE) if small else text


def run(name: str, folder: Path, small: bool = False) -> dict[str, object]:
    """Run a tutorial in a folder, and give its names; `figure` is what it ends in."""
    names: dict[str, object] = {"__name__": "tutorial"}
    with contextlib.chdir(folder):
        exec(compile(source(name, small), f"tutorials/{name}.py", "exec"), names)
    return names


def page(name: str) -> str:
    """A tutorial as Markdown."""
    parts = _CELL.split(source(name))[1:]
    lines = []
    for kind, body in zip(parts[::2], parts[1::2], strict=True):
        text = body.strip()
        if kind:
            lines.append(re.sub(r"^# ?", "", text, flags=re.MULTILINE))
        else:
            text = re.sub(r"  # small: .*$", "", text, flags=re.MULTILINE)
            lines.append(f"```python\n{text}\n```")
    lines.append(f"![the figure that this tutorial ends in](../images/tutorials/{name}.png)")
    lines.append(f"This page is `tutorials/{name}.py`; Jupyter opens it with jupytext.")
    return "\n\n".join(lines) + "\n"


def title(name: str) -> str:
    """Its heading."""
    match = re.search(r"^# # (.+)$", source(name), re.MULTILINE)
    return match.group(1) if match else name


def pages() -> dict[str, str]:
    """All pages by path, with a list of them."""
    found = {f"tutorials/{name}.md": page(name) for name in ORDER}
    entries = "\n".join(f"{number}. [{title(name)}]({name}.md)" for number, name in enumerate(ORDER, start=1))
    head = "# Tutorials\n\nEach is a script in `tutorials/` that runs in a minute or two, and is run by the tests.\n\n"
    return {"tutorials/index.md": f"{head}{entries}\n", **found}


def main() -> None:
    """Run all, or those that are named."""
    target = Path(sys.argv[1]).absolute()
    target.mkdir(parents=True, exist_ok=True)
    for name in sys.argv[2:] or ORDER:
        with tempfile.TemporaryDirectory() as folder:
            figure = run(name, Path(folder))["figure"]
        figure.savefig(target / f"{name}.png", dpi=80, metadata={"Software": None})  # pyright: ignore
        print(f"wrote {os.path.relpath(target / f'{name}.png')}")


if __name__ == "__main__":
    main()
