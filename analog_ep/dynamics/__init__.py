"""What is no equilibrium: transients, thermal motion, the landscape of states."""

from analog_ep.dynamics.langevin import Langevin

__all__ = ["Langevin"]
