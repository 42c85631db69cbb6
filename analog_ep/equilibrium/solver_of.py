"""Solvers by default: of a network the fast one, by its layers where it has such; of any circuit Newton or ngspice."""

from __future__ import annotations

from analog_ep.equilibrium.equilibrium import Solver
from analog_ep.equilibrium.layered.hopfield_relaxation import HopfieldRelaxation
from analog_ep.equilibrium.layered.relaxation import Relaxation
from analog_ep.equilibrium.ngspice import Ngspice
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


def circuit_solver(engine: str, newton: Newton | None = None) -> Solver:
    """What solves any circuit by an `engine`, "torch" or "ngspice", which runs the whole of it."""
    if engine == "ngspice":
        return Ngspice()
    return Newton() if newton is None else newton
