"""What is no equilibrium: transients, periodic steady states, thermal motion, the landscape of states."""

from analog_ep.dynamics.langevin import Langevin
from analog_ep.dynamics.ngspice_settling import NgspiceSettling
from analog_ep.dynamics.phasor_costs import DecibelError, PhasorError, PowerCrossEntropy
from analog_ep.dynamics.phasors import NgspicePhasors, NodalPhasors, phasor_equilibrium

__all__ = [
    "DecibelError",
    "Langevin",
    "NgspicePhasors",
    "NgspiceSettling",
    "NodalPhasors",
    "PhasorError",
    "PowerCrossEntropy",
    "phasor_equilibrium",
]
