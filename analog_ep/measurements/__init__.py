"""Measured curves in CSV, and the units that they and cards carry."""

from analog_ep.measurements.table import CURRENT, VOLTAGE, Column, Table, read_table
from analog_ep.measurements.units import si_scale

__all__ = ["CURRENT", "VOLTAGE", "Column", "Table", "read_table", "si_scale"]
