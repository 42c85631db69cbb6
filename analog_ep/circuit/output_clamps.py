"""Outputs that are held: the hardware of a clamped phase."""

from __future__ import annotations

import numpy as np

from analog_ep.circuit.branches import VoltageSources
from analog_ep.circuit.circuit import Circuit
from analog_ep.errors import CircuitError

_LABEL = "output_clamp"


def with_output_clamps(circuit: Circuit) -> Circuit:
    """The circuit with a voltage source across each output, v₊ − v₋, driven by an input of its own.

    The new inputs follow the circuit's, so that any solver of circuits finds the clamped state of the inputs
    `(*batch, n_inputs + n_outputs)`, and its netlist is that of the clamped phase. The sources float: they fix the
    difference and leave the common mode of each pair to the network.

    Raises
    ------
    CircuitError
        If the circuit has no outputs, or they are clamped already.
    """
    if circuit.outputs is None:
        raise CircuitError(
            f"output clamps need outputs, found none in {circuit.title!r}; declare them with set_outputs"
        )
    if any(group.label == _LABEL for group in circuit.groups):
        raise CircuitError(f"the outputs must be free, found clamps in {circuit.title!r}")
    positive, negative = circuit.outputs
    index = circuit.n_inputs + np.arange(len(positive))
    return circuit.with_groups([*circuit.groups, VoltageSources(_LABEL, positive, negative, 0.0, index)])
