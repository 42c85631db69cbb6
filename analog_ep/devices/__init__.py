"""One element each: current, conductance, co-content, and the cancellation-free current difference."""

from analog_ep.devices.clamp import Clamp
from analog_ep.devices.diode import Diode, DiodeClamp
from analog_ep.devices.ekv import EkvMosfet
from analog_ep.devices.ideal import HardClamp, IdealDiode
from analog_ep.devices.level1 import Level1Mosfet
from analog_ep.devices.mosfet import Mosfet
from analog_ep.devices.piecewise import PiecewiseLinearDiode
from analog_ep.devices.saturation import TanhCurve
from analog_ep.devices.shockley import ShockleyDiode
from analog_ep.devices.tabulated import TabulatedMosfet

__all__ = [
    "Clamp",
    "Diode",
    "DiodeClamp",
    "EkvMosfet",
    "HardClamp",
    "IdealDiode",
    "Level1Mosfet",
    "Mosfet",
    "PiecewiseLinearDiode",
    "ShockleyDiode",
    "TabulatedMosfet",
    "TanhCurve",
]
