"""A netlist in a file as one text, for engines that see no files."""

from __future__ import annotations

import re
from pathlib import Path

from analog_ep.errors import CircuitError, NgspiceError

_INCLUDE = re.compile(r"^\s*\.inc(?:lude)?\s+(?P<path>\"[^\"]+\"|'[^']+'|\S+)\s*$", re.IGNORECASE | re.MULTILINE)
_LIBRARY = re.compile(r"^\s*\.lib\b.*$", re.IGNORECASE | re.MULTILINE)
_MOST = 100


def with_includes(path: Path) -> str:
    """A netlist with the files that it includes pasted in.

    Parameters
    ----------
    path : Path
        The netlist; what it includes is looked for beside it.

    Raises
    ------
    NgspiceError
        If one of the files cannot be read.
    CircuitError
        If there are more than a hundred, or sections of a library.
    """
    return _pasted(path, [_MOST])


def _pasted(path: Path, left: list[int]) -> str:
    if left[0] == 0:
        raise CircuitError(f"a netlist may include {_MOST} files, found more at {path}; do they include each other?")
    left[0] -= 1
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise NgspiceError(f"{path} must be a netlist, found none to read: {error}") from None
    if found := _LIBRARY.search(text):
        raise CircuitError(
            f"a netlist that is run here may include files, found a section of a library: {found[0].strip()[:60]!r}; "
            "include a file that holds the section alone"
        )
    return _INCLUDE.sub(lambda found: _pasted(path.parent / found["path"].strip("\"'"), left), text)
