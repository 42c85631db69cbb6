"""A designer's own netlist: read, trained, and written back with what it learnt."""

from analog_ep.designs.design import Design, read_netlist
from analog_ep.designs.live_circuit import from_pyspice, set_pyspice
from analog_ep.designs.trainable import Trainable
from analog_ep.designs.vendor_diode import VendorDiode

__all__ = ["Design", "Trainable", "VendorDiode", "from_pyspice", "read_netlist", "set_pyspice"]
