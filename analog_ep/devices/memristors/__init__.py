"""Memristors as a voltage across them moves their state: the models of `netlists/memristors.lib`, in PyTorch."""

from analog_ep.devices.memristors.integration import Trajectory, integrate, pulse_train
from analog_ep.devices.memristors.linear_drift import Biolek, Joglekar, LinearDrift, Prodromakis
from analog_ep.devices.memristors.memristor import Memristor
from analog_ep.devices.memristors.models import MEMRISTORS, memristor
from analog_ep.devices.memristors.stanford import Stanford
from analog_ep.devices.memristors.threshold import TEAM, VTEAM
from analog_ep.devices.memristors.yakopcic import Yakopcic

__all__ = [
    "MEMRISTORS",
    "TEAM",
    "VTEAM",
    "Biolek",
    "Joglekar",
    "LinearDrift",
    "Memristor",
    "Prodromakis",
    "Stanford",
    "Trajectory",
    "Yakopcic",
    "integrate",
    "memristor",
    "pulse_train",
]
