"""Amplifiers with bandwidth, output resistance and rails in place of ideal ones."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from analog_ep.circuit import (
    GROUND,
    Branches,
    Capacitors,
    Circuit,
    Conductances,
    CurrentSources,
    Diodes,
    VoltageControlledCurrentSources,
    VoltageLaw,
)
from analog_ep.devices import PiecewiseLinearDiode
from analog_ep.errors import StimulusError

POLE_CONDUCTANCE = 1.0
"""Beside the capacitor of the pole: so large that its noise is small. [S]"""

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

    An amplifier `amplifier1_0` gets the node ``amplifier1_p0``, p. Its output is p/R_out into R_out to ground, which is
    p behind R_out; Newton's method and ngspice then have no source's current for an unknown. The outputs are nodes like
    any other, which `with_node_capacitance` loads. Old nodes keep their numbers. What these elements dissipate is no
    property of an amplifier.

    Parameters
    ----------
    circuit : Circuit
        Any circuit.
    model : AmplifierModel
        Of all its amplifiers.
    """
    names = list(circuit.node_names)
    groups: list[Branches] = []
    amplifiers = {group.label: group for group in circuit.of_kind(VoltageLaw) if group.rows().drawn_from is not None}
    for group in circuit.groups:
        amplifier = amplifiers.get(group.label)
        groups.extend([group] if amplifier is None else _elements(amplifier, model, names))
    return replace(circuit, node_names=tuple(names), groups=tuple(groups))


def _elements(group: VoltageLaw, model: AmplifierModel, names: list[str]) -> Iterator[Branches]:
    label, rows, which = group.label, group.rows(), group.stages()
    source, drawn, gain, feedback = rows.require_amplifiers(label)
    # A stage's first row shows its gain and offset; the pole takes their magnitude, every row its own sign.
    _, first = np.unique(which, return_index=True)
    sign = np.sign(gain)
    pole = len(names) + np.arange(len(first))
    names.extend(f"{label}_p{i}" for i in range(len(first)))
    ground, low, siemens = np.full(len(first), GROUND), np.full(len(which), GROUND), 1 / model.output_resistance
    output = rows.positive
    yield _currents(f"{label}_gain", pole, source[first], POLE_CONDUCTANCE * np.abs(gain[first]))
    if (offset := (sign * rows.volts)[first]).any():
        yield CurrentSources(f"{label}_offset", ground, pole, POLE_CONDUCTANCE * offset)
    yield Conductances(f"{label}_pole", pole, ground, POLE_CONDUCTANCE)
    yield Capacitors(f"{label}_c", pole, ground, POLE_CONDUCTANCE * model.time_constant)
    if model.rail is not None:
        limit = PiecewiseLinearDiode((model.rail,), (LIMIT_CONDUCTANCE,))
        yield Diodes(f"{label}_high", pole, ground, limit)
        yield Diodes(f"{label}_low", ground, pole, limit)
    yield _currents(f"{label}_drive", output, pole[which], sign * siemens)
    yield Conductances(f"{label}_out", output, low, siemens)
    # What leaves the output, ±p/R_out less w/R_out, times the feedback and the side's sign.
    feedback = feedback * siemens
    yield _currents(f"{label}_back_p", drawn, pole[which], -sign * feedback)
    yield _currents(f"{label}_back_w", drawn, output, feedback)


def _currents(label: str, into: np.ndarray, control: np.ndarray, gain: np.ndarray) -> VoltageControlledCurrentSources:
    """Currents gain · v(control) into nodes."""
    ground = np.full_like(into, GROUND)
    return VoltageControlledCurrentSources(label, ground, into, control, ground, gain)
