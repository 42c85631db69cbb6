"""Networks that learn by equilibrium propagation: layered ones, and any circuit."""

from analog_ep.networks.activation import Activation, ClampedLinear, HardSigmoid, Sigmoid, Tanh
from analog_ep.networks.circuit_network import CircuitNetwork
from analog_ep.networks.hopfield import HopfieldNetwork
from analog_ep.networks.hopfield_circuit import LeakyIntegrators
from analog_ep.networks.network import HardwareNetwork, Network
from analog_ep.networks.resistive import ResistiveNetwork
from analog_ep.networks.stage import Stage

__all__ = [
    "Activation",
    "CircuitNetwork",
    "ClampedLinear",
    "HardSigmoid",
    "HardwareNetwork",
    "HopfieldNetwork",
    "LeakyIntegrators",
    "Network",
    "ResistiveNetwork",
    "Sigmoid",
    "Stage",
    "Tanh",
]
