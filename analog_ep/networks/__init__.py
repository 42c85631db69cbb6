"""Layered networks that learn by equilibrium propagation."""

from analog_ep.networks.activation import Activation, HardSigmoid, Sigmoid, Tanh
from analog_ep.networks.hopfield import HopfieldNetwork
from analog_ep.networks.network import CircuitNetwork, Network
from analog_ep.networks.resistive import ResistiveNetwork
from analog_ep.networks.stage import Stage

__all__ = [
    "Activation",
    "CircuitNetwork",
    "HardSigmoid",
    "HopfieldNetwork",
    "Network",
    "ResistiveNetwork",
    "Sigmoid",
    "Stage",
    "Tanh",
]
