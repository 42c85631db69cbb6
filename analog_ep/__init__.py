"""Equilibrium propagation on resistive crossbars: a SPICE netlist and a PyTorch solver of one circuit."""

from analog_ep.circuit import Chip, Circuit, CircuitBuilder, check_circuit
from analog_ep.devices import Diode, DiodeClamp, IdealDiode, PiecewiseLinearDiode, ShockleyDiode
from analog_ep.equilibrium import (
    Equilibrium,
    EulerRelaxation,
    HopfieldRelaxation,
    Langevin,
    Newton,
    Ngspice,
    Relaxation,
    Solver,
    solve,
)
from analog_ep.errors import AnalogEPError
from analog_ep.export import write_netlist
from analog_ep.learning import (
    CoupledLearning,
    CrossCheck,
    EnergyImplicitDifferentiation,
    EquilibriumPropagation,
    FusedStep,
    GradientMethod,
    ImplicitDifferentiation,
    NgspiceSmallSignal,
    PulsedUpdate,
    SmallSignal,
    StochasticEquilibriumPropagation,
    Tolerances,
    Update,
    cross_check,
)
from analog_ep.networks import HopfieldNetwork, Network, ResistiveNetwork
from analog_ep.stimulus import Cost, CrossEntropy, Nudge, SquaredError

__all__ = [
    "AnalogEPError",
    "Chip",
    "Circuit",
    "CircuitBuilder",
    "Cost",
    "CoupledLearning",
    "CrossCheck",
    "CrossEntropy",
    "Diode",
    "DiodeClamp",
    "EnergyImplicitDifferentiation",
    "Equilibrium",
    "EquilibriumPropagation",
    "EulerRelaxation",
    "FusedStep",
    "GradientMethod",
    "HopfieldNetwork",
    "HopfieldRelaxation",
    "IdealDiode",
    "ImplicitDifferentiation",
    "Langevin",
    "Network",
    "Newton",
    "Ngspice",
    "NgspiceSmallSignal",
    "Nudge",
    "PiecewiseLinearDiode",
    "PulsedUpdate",
    "Relaxation",
    "ResistiveNetwork",
    "ShockleyDiode",
    "SmallSignal",
    "Solver",
    "SquaredError",
    "StochasticEquilibriumPropagation",
    "Tolerances",
    "Update",
    "check_circuit",
    "cross_check",
    "solve",
    "write_netlist",
]
