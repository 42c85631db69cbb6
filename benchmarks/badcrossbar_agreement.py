"""Crossbars with wires beside badcrossbar, in one process: output currents with grounded outputs, and times.

badcrossbar is no dependency of this project: `pip install --no-deps badcrossbar pathvalidate sigfig sortedcontainers`
where it may be, of which only its calculation is used, not its plots.
"""

from __future__ import annotations

import argparse
import importlib
import logging
import statistics
import sys
import time
import warnings
from collections.abc import Callable

import numpy as np
import torch

from analog_ep.networks.wires.lines import LineSolver

_ROUNDS = 5
_LARGEST = 256
"""Crossbar up to which badcrossbar is asked: 1024 × 1024 takes it more memory than most machines have."""


def main() -> None:
    """Print one line for each size, resistance and range of conductances."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sizes", type=int, nargs="+", default=[32, 128, 256, 1024])
    parser.add_argument("--resistances", type=float, nargs="+", default=[1e-3, 1.0, 1e3])
    options = parser.parse_args()
    torch.set_num_threads(1)
    with warnings.catch_warnings():
        # It says that its plots cannot be imported.
        warnings.simplefilter("ignore")
        try:
            badcrossbar = importlib.import_module("badcrossbar")
        except ModuleNotFoundError:
            sys.exit("badcrossbar is not installed; see the first lines of this script")
    logging.disable(logging.INFO)
    print("size  ohm  siemens  ours ms  badcrossbar ms  largest relative difference of an output current")
    for size in options.sizes:
        for resistance in options.resistances if size <= _LARGEST else [1.0]:
            for low, high in ((1e-7, 1e-4), (1e-9, 1e-3)):
                _compare(badcrossbar.compute, size, resistance, low, high)


def _compare(compute: Callable, size: int, resistance: float, low: float, high: float) -> None:
    random = np.random.default_rng(size)
    siemens = 10 ** random.uniform(np.log10(low), np.log10(high), (size, size))
    volts = random.uniform(0, 1, (size, 1))
    cells, ends = torch.from_numpy(siemens), torch.from_numpy(np.concatenate([volts, np.zeros((size, 1))]))
    segments = torch.full_like(cells, 1 / resistance)
    pairs = [(lambda: -LineSolver(cells, segments, segments).solve(ends).currents[size:, 0].numpy(), _ROUNDS + 1)]
    if size <= _LARGEST:
        pairs.append((lambda: compute(volts, 1 / siemens, r_i=resistance).currents.output[0], 3 if size < 256 else 1))
    found, times = [], []
    for calculate, rounds in pairs:
        seconds = []
        for _ in range(rounds):
            began = time.perf_counter()
            currents = calculate()
            seconds.append(time.perf_counter() - began)
        found.append(currents)
        # The first of several compiles.
        times.append(f"{1e3 * statistics.median(seconds[1:] or seconds):8.2f}")
    apart = f"{np.abs(found[0] / found[1] - 1).max():.1e}" if len(found) > 1 else "-"
    print(f"{size:4d} {resistance:8g}  {low:g}..{high:g}  {'  '.join(times)}  {apart}", flush=True)


if __name__ == "__main__":
    main()
