"""Gradient methods, updates, training, and the comparison with ngspice."""

from analog_ep.learning.agreement import CrossCheck, Tolerances
from analog_ep.learning.contour import HarmonicEquilibriumPropagation, HolomorphicEquilibriumPropagation
from analog_ep.learning.contrastive_divergence import ContrastiveDivergence
from analog_ep.learning.coupled import ContrastiveHebbian, CoupledLearning
from analog_ep.learning.cross_check import cross_check
from analog_ep.learning.fused import FusedStep
from analog_ep.learning.hopfield_check import HopfieldCrossCheck, HopfieldTolerances, hopfield_cross_check
from analog_ep.learning.implicit import ImplicitDifferentiation, implicit_gradients
from analog_ep.learning.implicit_energy import EnergyImplicitDifferentiation
from analog_ep.learning.ngspice_small_signal import NgspiceSmallSignal
from analog_ep.learning.propagation import EquilibriumPropagation, GradientMethod, SmallSignal
from analog_ep.learning.pulsed import PulsedUpdate
from analog_ep.learning.recurrent_backpropagation import AdjointDynamics, RecurrentBackpropagation
from analog_ep.learning.stochastic import StochasticEquilibriumPropagation
from analog_ep.learning.update import Update

__all__ = [
    "AdjointDynamics",
    "ContrastiveDivergence",
    "ContrastiveHebbian",
    "CoupledLearning",
    "CrossCheck",
    "EnergyImplicitDifferentiation",
    "EquilibriumPropagation",
    "FusedStep",
    "GradientMethod",
    "HarmonicEquilibriumPropagation",
    "HolomorphicEquilibriumPropagation",
    "HopfieldCrossCheck",
    "HopfieldTolerances",
    "ImplicitDifferentiation",
    "NgspiceSmallSignal",
    "PulsedUpdate",
    "RecurrentBackpropagation",
    "SmallSignal",
    "StochasticEquilibriumPropagation",
    "Tolerances",
    "Update",
    "cross_check",
    "hopfield_cross_check",
    "implicit_gradients",
]
