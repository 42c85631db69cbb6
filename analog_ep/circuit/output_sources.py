"""Sources at the outputs as parts of a circuit: the hardware of a clamped phase, and a frozen nudge to one sample."""

from __future__ import annotations

import numpy as np

from analog_ep.circuit.branches import CurrentSources, VoltageSources
from analog_ep.circuit.circuit import Circuit
from analog_ep.errors import CircuitError, StimulusError

NUDGE = "nudge"
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


def with_output_currents(circuit: Circuit, currents: np.ndarray | None) -> Circuit:
    """The circuit with a current source from v₋ to v₊ of each output; without currents the circuit itself.

    Parameters
    ----------
    circuit : Circuit
        With outputs.
    currents : ndarray (n_outputs,) or None
        Into v₊ and out of v₋. [A]

    Raises
    ------
    StimulusError
        If the circuit has no outputs, or another number of them.
    """
    if currents is None:
        return circuit
    if circuit.outputs is None:
        raise StimulusError(f"a nudge needs outputs, found none in {circuit.title!r}; declare them with set_outputs")
    positive, negative = circuit.outputs
    if np.shape(currents) != positive.shape:
        raise StimulusError(f"a nudge needs {len(positive)} currents, found shape {np.shape(currents)}")
    return circuit.with_groups([*circuit.groups, CurrentSources(NUDGE, negative, positive, currents)])
