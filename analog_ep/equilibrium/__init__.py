"""Solvers: relaxation on layers, Newton on any circuit, ngspice; and what they return."""

from analog_ep.equilibrium.equilibrium import CircuitSolver, CircuitState, Equilibrium, Solver, solve
from analog_ep.equilibrium.kirchhoff import kirchhoff_residual
from analog_ep.equilibrium.langevin import Langevin
from analog_ep.equilibrium.newton import Newton
from analog_ep.equilibrium.ngspice import Ngspice
from analog_ep.equilibrium.relaxation import Relaxation

__all__ = [
    "CircuitSolver",
    "CircuitState",
    "Equilibrium",
    "Langevin",
    "Newton",
    "Ngspice",
    "Relaxation",
    "Solver",
    "kirchhoff_residual",
    "solve",
]
