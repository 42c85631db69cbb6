"""Update schemes: which pulses a wanted change of the conductances becomes."""

import dataclasses
from typing import Any

from analog_ep.errors import DeviceParameterError
from analog_ep.learning.updates.schemes.closed_loop import MixedPrecision, ProgramAndVerify
from analog_ep.learning.updates.schemes.open_loop import FixedStep, SignStep, StochasticCoincidence
from analog_ep.learning.updates.schemes.pairs import OneOfPair
from analog_ep.learning.updates.schemes.scheme import PulsedCrossbar, Scheme
from analog_ep.learning.updates.schemes.tiki_taka import TikiTaka

__all__ = [
    "SCHEMES",
    "FixedStep",
    "MixedPrecision",
    "OneOfPair",
    "ProgramAndVerify",
    "PulsedCrossbar",
    "Scheme",
    "SignStep",
    "StochasticCoincidence",
    "TikiTaka",
    "update_scheme",
]

SCHEMES: dict[str, type[Scheme]] = {
    "fixed": FixedStep,
    "sign": SignStep,
    "stochastic": StochasticCoincidence,
    "verify": ProgramAndVerify,
    "mixed_precision": MixedPrecision,
    "tiki_taka": TikiTaka,
}
"""Schemes by the name that a spec calls them."""


def update_scheme(name: str, **parameters: Any) -> Scheme:
    """A scheme by name.

    Parameters
    ----------
    name : str
        A key of `SCHEMES`.
    **parameters
        Fields of the scheme.

    Raises
    ------
    DeviceParameterError
        If the name or a parameter is unknown, or a parameter is outside its range.
    """
    if name not in SCHEMES:
        raise DeviceParameterError(f"scheme must be one of {', '.join(SCHEMES)}, found {name!r}")
    known = [entry.name for entry in dataclasses.fields(SCHEMES[name])]
    for key in parameters:
        if key not in known:
            raise DeviceParameterError(f"scheme {name} has no parameter {key!r}; it has {', '.join(known)}")
    return SCHEMES[name](**parameters)
