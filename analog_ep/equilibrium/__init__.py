"""Solvers: relaxation on layers, Newton on any circuit, ngspice; and what they return."""

from analog_ep.equilibrium.equilibrium import CircuitSolver, CircuitState, Equilibrium, Solver, solve
from analog_ep.equilibrium.euler import EulerRelaxation
from analog_ep.equilibrium.hopfield import HopfieldRelaxation
from analog_ep.equilibrium.kirchhoff import kirchhoff_residual
from analog_ep.equilibrium.langevin import Langevin
from analog_ep.equilibrium.newton import Newton
from analog_ep.equilibrium.ngspice import Ngspice
from analog_ep.equilibrium.relaxation import Relaxation
from analog_ep.equilibrium.settled import NgspiceSettling
from analog_ep.equilibrium.solver_of import solver_of

__all__ = [
    "CircuitSolver",
    "CircuitState",
    "Equilibrium",
    "EulerRelaxation",
    "HopfieldRelaxation",
    "Langevin",
    "Newton",
    "Ngspice",
    "NgspiceSettling",
    "Relaxation",
    "Solver",
    "kirchhoff_residual",
    "solve",
    "solver_of",
]
