"""Ngspice on a text as it is: no part of the package between the text and the simulator."""

from __future__ import annotations

import re
import subprocess
import tempfile
from pathlib import Path

import numpy as np

_COMPLAINTS = re.compile(r"error|warning|can't|cannot|undefined|unknown|singular|unusual", re.IGNORECASE)
_HARMLESS = re.compile(
    r"^Note|only marginally supported|Unusual leading characters|gmin (stepping|increment)|^Trying gmin"
)


def plain_voltages(
    files: dict[str, str | bytes], main: str = "main.cir", seconds: float = 20.0
) -> dict[str, float] | None:
    """Node voltages of the operating point by name [V]; None where ngspice complains or gives none.

    Parameters
    ----------
    files : dict of str to str or bytes
        Content of each file by its name.
    main : str
        Which one is the netlist.
    seconds : float
        Time limit.
    """
    with tempfile.TemporaryDirectory() as folder:
        for name, content in files.items():
            path = Path(folder, name)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content.encode() if isinstance(content, str) else content)
        try:
            done = subprocess.run(
                ["ngspice", "-n", "-b", "-r", "out.raw", main], cwd=folder, capture_output=True, timeout=seconds
            )
        except subprocess.TimeoutExpired:
            return None
        words = (done.stdout + done.stderr).decode("latin-1")
        complaints = [line for line in words.splitlines() if _COMPLAINTS.search(line) and not _HARMLESS.search(line)]
        raw = Path(folder, "out.raw")
        if done.returncode or complaints or not raw.is_file():
            return None
        return _read(raw.read_bytes())


def _read(content: bytes) -> dict[str, float] | None:
    """The first plot of a raw file."""
    head, mark, data = content.partition(b"Binary:\n")
    if not mark:
        return None
    lines = head.decode("latin-1").splitlines()
    count = int(next(line for line in lines if line.startswith("No. Variables")).split(":")[1])
    begin = lines.index("Variables:") + 1
    names = [line.split("\t")[2].lower() for line in lines[begin : begin + count]]
    values = np.frombuffer(data[: 8 * count], "<f8")
    if len(values) < count:
        return None
    found = {}
    for name, value in zip(names, values.tolist(), strict=True):
        if name.startswith("v(") and name.endswith(")"):
            found[name[2:-1]] = value
        elif not (name.startswith("i(") or "#" in name):
            found[name] = value
    return found
