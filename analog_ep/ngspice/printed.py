"""What a deck prints: tables of a sweep, and measurements."""

from __future__ import annotations

import re

import numpy as np

_MEASURED = re.compile(r"^(\w+)\s+=\s+(\S+)", re.MULTILINE)


def printed_tables(output: str) -> dict[str, np.ndarray]:
    """Columns `(n_rows,)` of all tables by their heading."""
    table: dict[str, list[float]] = {}
    headings: list[str] = []
    for line in output.splitlines():
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


def printed_measurements(output: str) -> dict[str, float]:
    """Values of ``.meas`` by their name; NaN where one failed."""
    return {name: _value(text) for name, text in _MEASURED.findall(output)}


def _value(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return float("nan")
