"""The fast solver of each kind of network."""

from __future__ import annotations

from analog_ep.equilibrium.equilibrium import Solver
from analog_ep.equilibrium.layered.hopfield_relaxation import HopfieldRelaxation
from analog_ep.equilibrium.layered.relaxation import Relaxation
from analog_ep.equilibrium.nodal.newton import Newton
from analog_ep.networks import HopfieldNetwork, Network, ResistiveNetwork


def solver_of(network: Network) -> Solver:
    """The fastest solver of a network, at its default tolerances: a layered one, or `Newton`."""
    if isinstance(network, ResistiveNetwork):
        return Relaxation()
    return HopfieldRelaxation() if isinstance(network, HopfieldNetwork) else Newton()
