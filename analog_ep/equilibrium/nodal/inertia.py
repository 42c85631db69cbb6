"""What stores energy in a circuit, as a matrix beside the reduced equations."""

from __future__ import annotations

from typing import Protocol

import numpy as np
from scipy.sparse import csr_array

from analog_ep.circuit import ChargeLaw, Circuit, FluxLaw
from analog_ep.equilibrium.nodal.assembly import Entries


class Port(Protocol):
    """Branches as the unknowns see them, see `analog_ep.equilibrium.nodal.reduction.Port`."""

    @property
    def law(self) -> csr_array: ...
    @property
    def voltage(self) -> csr_array: ...
    @property
    def source_voltage(self) -> csr_array: ...


class Equations(Protocol):
    """What is asked of the reduced equations, see `ReducedSystem`."""

    n_unknowns: int
    current_unknowns: dict[str, np.ndarray]

    def port(self, pairs: list[tuple[np.ndarray, np.ndarray]]) -> Port:
        """Branches between pairs of nodes."""
        ...


def inertia(circuit: Circuit, system: Equations) -> tuple[csr_array, csr_array]:
    r"""K and K_s of :math:`F(x) + K \dot x + K_s \dot s = 0`, `(n_unknowns, n_unknowns)` and `(…, n_inputs + 1)`.

    A capacitor adds C dv/dt to Kirchhoff's law at its ends. An inductor keeps its current c as an unknown, whose row
    v_p − v_n = 0 at rest becomes v_p − v_n − L dc/dt = 0.

    Parameters
    ----------
    circuit : Circuit
        Whose equations are given.
    system : Equations
        Its equations, with sources s.
    """
    capacitors = circuit.of_kind(ChargeLaw)
    port = system.port([group.ends() for group in capacitors])
    farads = np.concatenate([np.zeros(0), *(group.capacitances() for group in capacitors)])
    charged = port.law * farads
    flux = Entries()
    for group in circuit.of_kind(FluxLaw):
        own = system.current_unknowns[group.label]
        flux.put(own, own, -group.inductances())
    own = flux.matrix((system.n_unknowns, system.n_unknowns))
    return csr_array(charged @ port.voltage + own), csr_array(charged @ port.source_voltage)
