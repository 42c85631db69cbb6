"""Runs a deck as a circuit designer does, and reads what it prints."""

import subprocess
from pathlib import Path

import numpy as np

from analog_ep.ngspice.process import find_ngspice


def run_plain(path: Path, cwd: Path | None = None) -> dict[str, np.ndarray]:
    """Tables printed by ``ngspice -b FILE``, a column by its heading."""
    table: dict[str, list[float]] = {}
    headings: list[str] = []
    for line in _output(path, cwd).splitlines():
        words = line.split()
        if words[:1] == ["Index"]:
            headings = words[1:]
            table.update({heading: [] for heading in headings})
        elif headings and words and words[0].isdigit() and len(words) == len(headings) + 1:
            for heading, word in zip(headings, words[1:], strict=True):
                table[heading].append(float(word))
        elif words and not set(line) <= {"-"}:
            headings = []
    return {heading: np.array(values) for heading, values in table.items()}


def run_point(path: Path) -> dict[str, float]:
    """Node voltages that ``ngspice -b FILE`` lists of an operating point, by the name of the node. [V]"""
    listed = _output(path).partition("Voltage")[2].partition("Source")[0]
    rows = [line.split() for line in listed.splitlines() if line.startswith("\t") and "--" not in line]
    return {row[0]: float(row[1]) for row in rows if len(row) == 2}


def _output(path: Path, cwd: Path | None = None) -> str:
    done = subprocess.run(
        [find_ngspice(), "-b", path], cwd=cwd or path.parent, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "error" not in (done.stdout + done.stderr).lower()
    return done.stdout


def run_measured(path: Path) -> dict[str, float]:
    """Values that ``.meas`` prints under ``ngspice -b FILE``; those that failed are left out."""
    done = subprocess.run([find_ngspice(), "-b", path], cwd=path.parent, capture_output=True, text=True, timeout=120)
    rows = (line.partition("=") for line in done.stdout.splitlines())
    return {
        name.strip(): float(value.split()[0])
        for name, equals, value in rows
        if equals and name.strip().isidentifier() and value.split() and value.split()[0] != "failed"
    }
