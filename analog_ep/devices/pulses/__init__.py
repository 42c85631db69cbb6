"""How conductances answer programming pulses: models in siemens, with their noise and spread."""

from analog_ep.devices.pulses.array import PulsedArray
from analog_ep.devices.pulses.curved import Exponential, ExpStep, PiecewiseStep, PowStep
from analog_ep.devices.pulses.device import PulseModel
from analog_ep.devices.pulses.lookup import Lookup
from analog_ep.devices.pulses.memristor_steps import MemristorSteps
from analog_ep.devices.pulses.presets import MODELS, PRESETS, pulse_model
from analog_ep.devices.pulses.steps import ConstantStep, LinearStep, SoftBounds, SoftBoundsReference
from analog_ep.devices.pulses.symmetry import find_symmetry, pulse_memory, symmetry_slopes
from analog_ep.devices.pulses.window import ConductanceMap

__all__ = [
    "MODELS",
    "PRESETS",
    "ConductanceMap",
    "ConstantStep",
    "ExpStep",
    "Exponential",
    "LinearStep",
    "Lookup",
    "MemristorSteps",
    "PiecewiseStep",
    "PowStep",
    "PulseModel",
    "PulsedArray",
    "SoftBounds",
    "SoftBoundsReference",
    "find_symmetry",
    "pulse_memory",
    "pulse_model",
    "symmetry_slopes",
]
