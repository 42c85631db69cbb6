"""One element each: current, conductance, co-content, and the cancellation-free current difference."""

from analog_ep.devices.clamp import DiodeClamp
from analog_ep.devices.diode import Diode
from analog_ep.devices.ideal import IdealDiode
from analog_ep.devices.piecewise import PiecewiseLinearDiode
from analog_ep.devices.saturation import TanhCurve
from analog_ep.devices.shockley import ShockleyDiode

__all__ = ["Diode", "DiodeClamp", "IdealDiode", "PiecewiseLinearDiode", "ShockleyDiode", "TanhCurve"]
