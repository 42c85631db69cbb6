"""What is no equilibrium: transients, thermal motion, the landscape of states."""

from analog_ep.dynamics.langevin import Langevin
from analog_ep.dynamics.ngspice_settling import NgspiceSettling

__all__ = ["Langevin", "NgspiceSettling"]
