"""Whether the phases of a lesson are long enough for the network, and its hardware such as can learn by itself."""

from __future__ import annotations

import numpy as np
import torch

from analog_ep.circuit import ChargeLaw, Chip, Circuit
from analog_ep.circuit.node_capacitance import with_node_capacitance
from analog_ep.dynamics.time_constants import MOST_UNKNOWNS, slowest_time_constant
from analog_ep.equilibrium import solve
from analog_ep.equilibrium.nodal.reduction import reduced_system
from analog_ep.equilibrium.solver_of import solver_of
from analog_ep.errors import CircuitError, StimulusError
from analog_ep.netlist.lesson import Lesson
from analog_ep.networks import ConductanceNetwork

NODE_FARADS = 1e-12
"""Usual capacitance of every node that neither a source nor an amplifier holds. [F]"""

_SETTLED = 7.0
"""Time constants after which 1e-3 of a change is left."""

_LOOKED_AT = 4
"""Samples of a lesson at whose states the time constants are found."""


def loaded(circuit: Circuit, capacitance: float | None) -> Circuit:
    """The circuit with a capacitance [F] at every node that nothing holds, or as it is."""
    return circuit if capacitance is None else with_node_capacitance(circuit, capacitance)


def require_time_to_settle(
    network: ConductanceNetwork, lesson: Lesson, chip: Chip | None = None, capacitance: float | None = NODE_FARADS
) -> None:
    """Raise `StimulusError` where the free or the nudged phase is shorter than 7 of the slowest time constants.

    These are those of the circuit linearised at the free states of some samples, and where all is discharged. Circuits
    of more than `MOST_UNKNOWNS` unknown voltages are not looked at.
    """
    twin = network.as_built()
    circuit = loaded(twin.circuit(chip), capacitance)
    if not circuit.of_kind(ChargeLaw) or reduced_system(circuit).n_unknowns > MOST_UNKNOWNS:
        return
    inputs = lesson.inputs[np.unique(lesson.order.ravel()[:_LOOKED_AT])]
    free = solve(twin, torch.from_numpy(inputs), solver=solver_of(twin), chip=chip).voltages.numpy()
    states = np.concatenate([free, np.zeros_like(free)])
    needed = _SETTLED * slowest_time_constant(circuit, np.concatenate([inputs] * 2), states)
    for name, seconds in lesson.timing.phases.items():
        if name != "write" and seconds < needed:
            raise StimulusError(
                f"the {name} phase must last {_SETTLED:g} of the network's slowest time constants, {needed:.2g} s, "
                f"found {seconds:.2g} s; give it more time, or the nodes less capacitance"
            )


def require_plain_cells(chip: Chip | None, twins: bool = False) -> None:
    """Raise `CircuitError` where a chip has what circuits that learn by themselves have in another form, or not.

    Twins may have a twin array.
    """
    if chip is None:
        return
    for what, part in (
        ("converters", chip.converters),
        ("comparators or biases of a learning circuit", chip.learning),
        ("levels, retention or diffusion of its cells", chip.cells),
        ("a twin array", None if twins else chip.twin),
    ):
        if part is not None:
            raise CircuitError(
                f"a chip whose conductances learn by circuits of their own has no {what}; leave them out"
            )
