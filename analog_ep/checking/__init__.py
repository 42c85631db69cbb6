"""Comparison with ngspice: states, gradients and energies of one circuit, and the decks that are handed on."""

from analog_ep.checking.agreement import CrossCheck, Tolerances
from analog_ep.checking.cross_check import cross_check
from analog_ep.checking.decks import MOST_BRANCHES, check_decks, decks_left_out
from analog_ep.checking.hopfield_agreement import HopfieldCrossCheck, HopfieldTolerances
from analog_ep.checking.hopfield_check import hopfield_cross_check

__all__ = [
    "MOST_BRANCHES",
    "CrossCheck",
    "HopfieldCrossCheck",
    "HopfieldTolerances",
    "Tolerances",
    "check_decks",
    "cross_check",
    "decks_left_out",
    "hopfield_cross_check",
]
