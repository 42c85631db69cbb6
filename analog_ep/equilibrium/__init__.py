"""Solvers: relaxation on layers, Newton on any circuit, ngspice; and what they return."""

from analog_ep.equilibrium.circuit_solver import CircuitSolver, CircuitState
from analog_ep.equilibrium.equilibrium import Equilibrium, Solver, solve
from analog_ep.equilibrium.layered.euler import EulerRelaxation
from analog_ep.equilibrium.layered.hopfield_relaxation import HopfieldRelaxation
from analog_ep.equilibrium.layered.relaxation import Relaxation
from analog_ep.equilibrium.ngspice import Ngspice
from analog_ep.equilibrium.nodal.newton import Newton
from analog_ep.equilibrium.nodal.residual import kirchhoff_residual
from analog_ep.equilibrium.oscillation import Oscillation
from analog_ep.equilibrium.solver_of import solver_of

__all__ = [
    "CircuitSolver",
    "CircuitState",
    "Equilibrium",
    "EulerRelaxation",
    "HopfieldRelaxation",
    "Newton",
    "Ngspice",
    "Oscillation",
    "Relaxation",
    "Solver",
    "kirchhoff_residual",
    "solve",
    "solver_of",
]
