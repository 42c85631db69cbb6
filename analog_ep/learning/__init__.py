"""Gradient methods, updates and training."""

from analog_ep.learning.equilibrium_block import EquilibriumBlock
from analog_ep.learning.gradients.contour import HarmonicEquilibriumPropagation, HolomorphicEquilibriumPropagation
from analog_ep.learning.gradients.contrastive_divergence import ContrastiveDivergence
from analog_ep.learning.gradients.coupled import ContrastiveHebbian, CoupledLearning
from analog_ep.learning.gradients.implicit import ImplicitDifferentiation, implicit_gradients
from analog_ep.learning.gradients.implicit_energy import EnergyImplicitDifferentiation
from analog_ep.learning.gradients.lock_in import LockInEquilibriumPropagation
from analog_ep.learning.gradients.method import GradientMethod
from analog_ep.learning.gradients.ngspice_small_signal import NgspiceSmallSignal
from analog_ep.learning.gradients.propagation import EquilibriumPropagation, SmallSignal
from analog_ep.learning.gradients.recurrent_backpropagation import AdjointDynamics, RecurrentBackpropagation
from analog_ep.learning.gradients.stochastic import StochasticEquilibriumPropagation
from analog_ep.learning.gradients.transposed import AdjointNetwork, AsymmetricEquilibriumPropagation
from analog_ep.learning.periodic_propagation import PeriodicPropagation
from analog_ep.learning.phasor_propagation import PhasorPropagation
from analog_ep.learning.training import EpochRecord, Trainer, TrainingObserver
from analog_ep.learning.updates.fused import FusedStep
from analog_ep.learning.updates.pulsed import PulsedUpdate
from analog_ep.learning.updates.report import CrossbarReport, DeviceFigures
from analog_ep.learning.updates.update import Update

__all__ = [
    "AdjointDynamics",
    "AdjointNetwork",
    "AsymmetricEquilibriumPropagation",
    "ContrastiveDivergence",
    "ContrastiveHebbian",
    "CoupledLearning",
    "CrossbarReport",
    "DeviceFigures",
    "EnergyImplicitDifferentiation",
    "EpochRecord",
    "EquilibriumBlock",
    "EquilibriumPropagation",
    "FusedStep",
    "GradientMethod",
    "HarmonicEquilibriumPropagation",
    "HolomorphicEquilibriumPropagation",
    "ImplicitDifferentiation",
    "LockInEquilibriumPropagation",
    "NgspiceSmallSignal",
    "PeriodicPropagation",
    "PhasorPropagation",
    "PulsedUpdate",
    "RecurrentBackpropagation",
    "SmallSignal",
    "StochasticEquilibriumPropagation",
    "Trainer",
    "TrainingObserver",
    "Update",
    "implicit_gradients",
]
