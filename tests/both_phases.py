"""A deck of a sample's free and nudged phase in a dialect, and the voltages that it must give."""

from __future__ import annotations

import numpy as np
import torch
from mna import solve_mna

from analog_ep.circuit import Circuit
from analog_ep.netlist import SpiceOptions, write_deck
from analog_ep.stimulus import CrossEntropy, Nudge, SquaredError

NUDGES = {"frozen": SquaredError(), "elastic": CrossEntropy(0.3)}


def phases(
    circuit: Circuit, kind: str, dialect: str, truth_of: Circuit | None = None, options: SpiceOptions | None = None
) -> tuple[str, np.ndarray]:
    """A deck of both phases, and the voltages of all nodes in both by an independent nodal analysis."""
    inputs = np.random.default_rng(2).uniform(-1, 1, circuit.n_inputs)
    assert circuit.outputs is not None
    positive, negative = circuit.outputs
    target = torch.softmax(torch.arange(len(positive), dtype=torch.float64), 0)
    nudge = Nudge(2e-5, target, NUDGES[kind], kind)  # pyright: ignore[reportArgumentType]
    truth_of = circuit if truth_of is None else truth_of
    free = solve_mna(truth_of, inputs)
    outputs = free[positive] - free[negative]

    def current(o: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        if kind == "frozen":
            return nudge.current(torch.from_numpy(outputs)).numpy(), np.zeros((len(o), len(o)))
        return nudge.current(torch.from_numpy(o)).numpy(), -2e-5 * nudge.cost.hessian(torch.from_numpy(o)).numpy()

    deck = write_deck(circuit, inputs, nudge, outputs, "both", dialect=dialect, options=options)  # pyright: ignore
    return deck, np.stack([free, solve_mna(truth_of, inputs, current)])
