"""Networks that learn by equilibrium propagation: layered ones, and any circuit."""

from analog_ep.networks.activation import Activation, ClampedLinear, HardSigmoid, Sigmoid, Tanh
from analog_ep.networks.circuit_network import CircuitNetwork
from analog_ep.networks.gate_network import GateNetwork
from analog_ep.networks.hopfield import HopfieldNetwork
from analog_ep.networks.leaky_integrators import LeakyIntegrators
from analog_ep.networks.network import (
    ConductanceNetwork,
    CrossbarNetwork,
    HardwareNetwork,
    Network,
    Question,
    RangedNetwork,
    UnitNetwork,
)
from analog_ep.networks.operator import Operator
from analog_ep.networks.operators import AveragePooling, Convolution, Dense, LocallyConnected
from analog_ep.networks.resistive import ResistiveNetwork
from analog_ep.networks.rlc_network import RLCNetwork
from analog_ep.networks.stage import Stage
from analog_ep.networks.wires import Wires

__all__ = [
    "Activation",
    "AveragePooling",
    "CircuitNetwork",
    "ClampedLinear",
    "ConductanceNetwork",
    "Convolution",
    "CrossbarNetwork",
    "Dense",
    "GateNetwork",
    "HardSigmoid",
    "HardwareNetwork",
    "HopfieldNetwork",
    "LeakyIntegrators",
    "LocallyConnected",
    "Network",
    "Operator",
    "Question",
    "RLCNetwork",
    "RangedNetwork",
    "ResistiveNetwork",
    "Sigmoid",
    "Stage",
    "Tanh",
    "UnitNetwork",
    "Wires",
]
