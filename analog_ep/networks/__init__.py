"""Layered networks that learn by equilibrium propagation."""

from analog_ep.networks.network import Network
from analog_ep.networks.resistive import ResistiveNetwork
from analog_ep.networks.stage import Stage

__all__ = ["Network", "ResistiveNetwork", "Stage"]
