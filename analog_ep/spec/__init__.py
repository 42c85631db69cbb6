"""A training run in TOML."""

from analog_ep.spec.chip import ChipSpec, ConvertersSpec
from analog_ep.spec.circuit import CircuitSpec
from analog_ep.spec.costs import CrossEntropySpec, SquaredErrorSpec
from analog_ep.spec.data import DataSpec
from analog_ep.spec.diodes import CardSpec, DiodeSpec, IdealSpec, PiecewiseSpec, ShockleySpec
from analog_ep.spec.gradients import GradientSpec
from analog_ep.spec.hopfield import HopfieldSpec
from analog_ep.spec.reading import default_spec, load_spec, load_stored_spec, parse_spec, with_values
from analog_ep.spec.relaxation import RelaxationSpec
from analog_ep.spec.resistive import NetworkSpec
from analog_ep.spec.tables import Spec, TrainingSpec, UpdateSpec

__all__ = [
    "CardSpec",
    "ChipSpec",
    "CircuitSpec",
    "ConvertersSpec",
    "CrossEntropySpec",
    "DataSpec",
    "DiodeSpec",
    "GradientSpec",
    "HopfieldSpec",
    "IdealSpec",
    "NetworkSpec",
    "PiecewiseSpec",
    "RelaxationSpec",
    "ShockleySpec",
    "Spec",
    "SquaredErrorSpec",
    "TrainingSpec",
    "UpdateSpec",
    "default_spec",
    "load_spec",
    "load_stored_spec",
    "parse_spec",
    "with_values",
]
