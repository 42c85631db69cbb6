"""Fits of device models to measurements, with uncertainties and a verdict on the model."""

from analog_ep.calibration.adequacy import Adequacy
from analog_ep.calibration.amplifier import fit_amplifier
from analog_ep.calibration.diode import fit_diode
from analog_ep.calibration.figure import fit_figure
from analog_ep.calibration.fit import Estimate, Fit
from analog_ep.calibration.memristor import fit_memristor
from analog_ep.calibration.pulses import fit_pulses
from analog_ep.calibration.regression import Noise
from analog_ep.calibration.writing import card_of, write_card
from analog_ep.measurements import Table, read_table

__all__ = [
    "Adequacy",
    "Estimate",
    "Fit",
    "Noise",
    "Table",
    "card_of",
    "fit_amplifier",
    "fit_diode",
    "fit_figure",
    "fit_memristor",
    "fit_pulses",
    "read_table",
    "write_card",
]
