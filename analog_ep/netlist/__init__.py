"""Netlists, and the one module that starts ngspice."""

from analog_ep.netlist.deck import save_deck, write_deck
from analog_ep.netlist.netlist import SpiceOptions

__all__ = ["SpiceOptions", "save_deck", "write_deck"]
