"""Constant currents into the outputs, as part of a circuit: what a frozen nudge is to one sample."""

from __future__ import annotations

import numpy as np

from analog_ep.circuit import Circuit, CurrentSources
from analog_ep.errors import StimulusError

LABEL = "nudge"


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
    return circuit.with_groups([*circuit.groups, CurrentSources(LABEL, negative, positive, currents)])
