"""Crossbars whose lines have resistance."""

from analog_ep.networks.wires.wires import Wires

__all__ = ["Wires"]
