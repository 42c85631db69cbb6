"""The fast solver of a network: that of its layers where it has such equations, otherwise Newton's method."""

from __future__ import annotations

from analog_ep.equilibrium.equilibrium import Solver
from analog_ep.equilibrium.layered.hopfield_relaxation import HopfieldRelaxation
from analog_ep.equilibrium.layered.relaxation import Relaxation
from analog_ep.equilibrium.nodal.newton import Newton
from analog_ep.networks import CrossbarNetwork, Network, Question, UnitNetwork


class _FastSolver(Question[Solver]):
    def network(self, network: Network) -> Solver:
        return Newton()

    def crossbars(self, network: CrossbarNetwork) -> Solver:
        return Relaxation()

    def units(self, network: UnitNetwork) -> Solver:
        return HopfieldRelaxation()


def solver_of(network: Network) -> Solver:
    """The fastest solver of a network, at its default tolerances: a layered one, or `Newton`."""
    return network.answer(_FastSolver())
