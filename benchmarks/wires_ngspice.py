"""Crossbars whose lines have resistance: every node's voltage by the layer solver, by Newton and by ngspice.

    python benchmarks/wires_ngspice.py
    python benchmarks/wires_ngspice.py --ohms 1 --rows 256 --columns 256

One crossbar with random inputs of up to 1 V and conductances drawn log-uniformly from a range, or all at one value; for
each, seconds of ngspice and the largest difference from the layer solver. ngspice should be one with KLU (from 42 on):
39 takes three minutes for 128 × 128.
"""

from __future__ import annotations

import argparse
import itertools
import json
import time

import torch

from analog_ep.equilibrium import Newton, Ngspice, Relaxation, solve
from analog_ep.networks import ResistiveNetwork, Wires
from analog_ep.ngspice.process import EngineReport

RANGES = ((1e-9, 1e-3), (1e-9, 1.0001e-9), (1e-6, 1e-4), (0.9999e-3, 1e-3))
"""Conductances. [S]"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--ohms", type=float, nargs="+", default=[1e-3, 1.0, 1e3], help="of a segment")
    parser.add_argument("--rows", type=int, nargs="+", default=[64, 128], help="even numbers")
    parser.add_argument("--columns", type=int, nargs="+", default=[64, 100], help="as many even numbers")
    options = parser.parse_args()
    print(json.dumps({"engine": str(EngineReport.of(None))}), flush=True)
    shapes = zip(options.rows, options.columns, strict=True)
    for (rows, columns), ohms, span in itertools.product(shapes, options.ohms, RANGES):
        print(json.dumps(compared(rows, columns, ohms, span)), flush=True)


def compared(rows: int, columns: int, ohms: float, span: tuple[float, float]) -> dict[str, object]:
    """Largest differences of node voltages, and seconds. [V, s]"""
    draw = torch.Generator().manual_seed(rows + columns)
    # Two rows of either sign for each input and for the bias; two columns for each output.
    network = ResistiveNetwork(
        [rows // 2 - 1, columns // 2], wires=Wires(ohms, ohms), conductance_range=span, dtype=torch.float64
    )
    network.set_conductances({name: _log_uniform(g.shape, span, draw) for name, g in network.conductances.items()})
    inputs = 2 * torch.rand(1, rows // 2 - 1, dtype=torch.float64, generator=draw) - 1
    begun = time.perf_counter()
    spice = solve(network, inputs, solver=Ngspice(timeout=None), throw=False)
    seconds = time.perf_counter() - begun
    layers = solve(network, inputs, solver=Relaxation(rtol=1e-13)).voltages
    newton = solve(network, inputs, solver=Newton(), throw=False).voltages
    return {
        "rows": rows,
        "columns": columns,
        "ohms": ohms,
        "siemens": span,
        "nodes": network.circuit().n_nodes,
        "ngspice_converged": bool(spice.converged.all()),
        "ngspice": float((spice.voltages - layers).abs().max()),
        "newton": float((newton - layers).abs().max()),
        "seconds": round(seconds, 2),
    }


def _log_uniform(shape: torch.Size, span: tuple[float, float], draw: torch.Generator) -> torch.Tensor:
    low, high = torch.tensor(span, dtype=torch.float64).log()
    return (low + (high - low) * torch.rand(shape, dtype=torch.float64, generator=draw)).exp()


if __name__ == "__main__":
    main()
