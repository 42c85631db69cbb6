"""Amplifiers with bandwidth, output resistance and rails in place of ideal ones."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from analog_ep.circuit import (
    GROUND,
    Amplifiers,
    Branches,
    Capacitors,
    Circuit,
    Conductances,
    Diodes,
    VoltageControlledCurrentSources,
    VoltageControlledVoltageSources,
)
from analog_ep.devices import PiecewiseLinearDiode
from analog_ep.errors import StimulusError

POLE_CONDUCTANCE = 1.0
"""Between the gain and the capacitor of the pole; its noise is small, and it carries no steady current. [S]"""

LIMIT_CONDUCTANCE = 1000.0
"""Slope of the limiter beyond the rails, which leaves 0.1 % of the excess. [S]"""


@dataclass(frozen=True)
class AmplifierModel:
    r"""One pole, hard rails and an output resistance, for all amplifiers of a circuit.

    With u the input, a the gain, w the output, and clip to the rails,

    .. math:: \frac{1}{2\pi f}\frac{dp}{dt} = a u - p, \qquad i = \frac{\operatorname{clip}(p) - w}{R_{out}},

    and k times the current i that leaves the output is drawn from the input at once. An inverted output follows −p.

    Parameters
    ----------
    bandwidth : float
        f, at which the gain has fallen by 3 dB. [Hz]
    output_resistance : float
        R_out of each output. [Ω]
    rail : float, optional
        Largest magnitude of p; None for no rails. [V]

    Raises
    ------
    StimulusError
        If a value is not positive and finite.
    """

    bandwidth: float
    output_resistance: float
    rail: float | None = None

    def __post_init__(self):
        for name in ("bandwidth", "output_resistance", "rail"):
            value = getattr(self, name)
            if value is not None and not 0 < value < math.inf:
                raise StimulusError(f"an amplifier's {name} must be positive and finite, found {value}")

    @property
    def time_constant(self) -> float:
        """1/(2π f). [s]"""
        return 1 / (2 * math.pi * self.bandwidth)


def with_amplifiers(circuit: Circuit, model: AmplifierModel) -> Circuit:
    """The circuit with every ideal amplifier replaced by elements that follow the model.

    An amplifier `amplifier1_0` gets the nodes ``amplifier1_g0`` (a·u), ``amplifier1_p0`` (p) and, for each output,
    ``amplifier1_d0`` and ``amplifier1_i0`` (p and −p behind R_out). The outputs are then nodes like any other, which
    `with_node_capacitance` loads. What the limiter of a clipping amplifier dissipates is no property of real ones.

    Parameters
    ----------
    circuit : Circuit
        Any circuit.
    model : AmplifierModel
        Of all its amplifiers.
    """
    names = list(circuit.node_names)
    groups: list[Branches] = []
    for group in circuit.groups:
        groups.extend(_elements(group, model, names) if isinstance(group, Amplifiers) else [group])
    return replace(circuit, node_names=tuple(names), groups=tuple(groups))


def _elements(group: Amplifiers, model: AmplifierModel, names: list[str]) -> Iterator[Branches]:
    label, ground = group.label, np.full(len(group), GROUND)
    which, output, sign = group.outputs()
    gained, pole = (_add(names, f"{label}_{letter}", range(len(group))) for letter in "gp")
    inverted = np.where(sign > 0, "d", "i")
    driven = np.concatenate([_add(names, f"{label}_{letter}", which[inverted == letter]) for letter in "di"])
    yield VoltageControlledVoltageSources(f"{label}_gain", gained, ground, group.input, ground, group.gain)
    yield Conductances(f"{label}_pole", gained, pole, POLE_CONDUCTANCE)
    yield Capacitors(f"{label}_c", pole, ground, POLE_CONDUCTANCE * model.time_constant)
    if model.rail is not None:
        limit = PiecewiseLinearDiode((model.rail,), (LIMIT_CONDUCTANCE,))
        yield Diodes(f"{label}_high", pole, ground, limit)
        yield Diodes(f"{label}_low", ground, pole, limit)
    low = np.full(len(which), GROUND)
    yield VoltageControlledVoltageSources(f"{label}_drive", driven, low, pole[which], low, sign)
    yield Conductances(f"{label}_out", driven, output, 1 / model.output_resistance)
    feedback = sign * group.feedback[which] / model.output_resistance
    yield VoltageControlledCurrentSources(f"{label}_back", group.input[which], low, driven, output, feedback)


def _add(names: list[str], stem: str, numbers: range | np.ndarray) -> np.ndarray:
    """Indices of new nodes with these names."""
    first = len(names)
    names.extend(f"{stem}{i}" for i in numbers)
    return np.arange(first, len(names))
