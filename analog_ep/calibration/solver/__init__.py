"""Diodes of the fast solver that stand for a designer's own in ngspice."""

from analog_ep.calibration.solver.device import Device, read_device
from analog_ep.calibration.solver.fitting import ALLOWED, LOAD, WithinTolerance, calibrate_device, fit_solver
from analog_ep.calibration.solver.sweep import sweep

__all__ = ["ALLOWED", "LOAD", "Device", "WithinTolerance", "calibrate_device", "fit_solver", "read_device", "sweep"]
