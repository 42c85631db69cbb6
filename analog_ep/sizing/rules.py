"""From a technology to a design, by the rules of docs/design-guide.md."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

from analog_ep.constants import thermal_voltage
from analog_ep.sizing.task import Task
from analog_ep.spec.technology import Technology

SETTLED = math.log(100)
"""Time constants until 1 % is left."""

_HEADROOM = 0.9
"""Of the rail, as far as clamps are biased: their rails need a source."""

_TRAINED_SHARE = 0.2
"""Mean conductance of a trained crossbar, of g_max."""

_KNEES = 6.0
"""Largest voltage of a hidden node, in n kT/q: beyond its knee a junction holds it."""

_LOGITS = 14.0
"""Largest logit, where all nodes stand a knee away from rest and all cells at a bound."""

_MATCHED = 2.0
"""Current of a junction at 0 V, in Σg n kT/q."""

_DISPLACED = 0.1
"""Part of the rail by which the nudge moves an output that is all wrong."""

_SLACK = 1.3
"""Over the settling time that the rules tell, which is a third too short at times."""

_BATCH, _STEPS, _LONGEST = 64, 2700, 200
"""Samples a step, steps of a training, and epochs at most."""


@dataclass(frozen=True)
class Design:
    """What a network is made of, in the terms of its spec.

    Attributes
    ----------
    task : Task
        What it learns.
    technology : Technology
        Of what.
    conductance_range : tuple of float
        Of the cells. [S]
    gain : float
        a of the amplifiers; the feedback is 1/a.
    input_voltage : float
        Per unit of a centred feature; the DACs clip at the rails. [V]
    clamp_current : float
        Of a junction at 0 V. [A]
    logit_scale : float
        Temperature of the softmax. [V]
    nudging : float
        β. [A·V]
    learning_rate : float
        Of Adam, of θ = g/g_max.
    input_noise : float
        Of the training, in units of the features.
    read_ranges : tuple of float, optional
        Full scales of the ADCs, hidden and output; None for ideal reads. [V]
    """

    task: Task
    technology: Technology
    conductance_range: tuple[float, float]
    gain: float
    input_voltage: float
    clamp_current: float
    logit_scale: float
    nudging: float
    learning_rate: float = 0.02
    input_noise: float = 0.2
    read_ranges: tuple[float, float] | None = None

    @classmethod
    def by_rules(cls, task: Task, technology: Technology) -> Design:
        """The design that the rules propose, within budget or not."""
        rail, junction = technology.rail, technology.junction
        knee = junction.ideality * thermal_voltage()
        gain = min(rail / (1.15 * _KNEES * knee), technology.amplifier.largest_gain or math.inf)
        bare = cls(
            task,
            technology,
            cheapest_range(technology),
            gain=rounded(gain),
            input_voltage=rail,
            clamp_current=0.0,
            logit_scale=rounded(2 * gain * knee / _LOGITS),
            nudging=0.0,
        )
        bare = bare.at_speed(bare.speed)
        return replace(
            bare,
            clamp_current=rounded(_MATCHED * bare.matched_current),
            nudging=rounded(_DISPLACED * rail * bare.logit_scale * bare.output_total),
        )

    @property
    def knee(self) -> float:
        """Voltage over which a junction bends, n kT/q. [V]"""
        return self.technology.junction.ideality * thermal_voltage()

    @property
    def hidden_total(self) -> float:
        """Σg at a hidden node of the trained network, its amplifier's load included. [S]"""
        inputs, _, outputs = self.task.sizes
        return (2 * (inputs + 1) + 4 * outputs) * self._mean

    @property
    def output_total(self) -> float:
        """Σg at an output. [S]"""
        return 2 * (self.task.sizes[1] + 1) * self._mean

    @property
    def _mean(self) -> float:
        return _TRAINED_SHARE * self.conductance_range[1]

    @property
    def matched_current(self) -> float:
        """Σg n kT/q of a hidden node. [A]"""
        return self.hidden_total * self.knee

    @property
    def settling_time(self) -> float:
        """Until both layers have settled to 1 %, one after the other; the junctions' slope at rest helps. [s]"""
        hidden = (1 + _MATCHED) * self.hidden_total
        return SETTLED * self.technology.capacitance.node * (1 / hidden + 1 / self.output_total)

    @property
    def speed(self) -> float:
        """Factor on the conductances that brings the settling time within its budget, as far as they go."""
        budget = self.technology.supply.settling_time
        most = self.technology.conductance.range[1] / self.conductance_range[1]
        return 1.0 if budget is None else min(max(1.0, _SLACK * self.settling_time / budget), most)

    @property
    def clamp(self) -> tuple[float, float]:
        """Saturation current [A] and bias [V] of the junctions, the bias within the rails."""
        junction, highest = self.technology.junction, _HEADROOM * self.technology.rail
        wanted = self.clamp_current / math.exp(highest / self.knee)
        size = min(max(wanted / junction.saturation_current, 1.0), junction.largest)
        saturation = size * junction.saturation_current
        bias = self.knee * math.log(self.clamp_current / saturation)
        return saturation, min(max(bias, 0.0), highest)

    @property
    def clamp_reach(self) -> float:
        """Current at 0 V that the largest junction carries at the highest bias. [A]"""
        junction, highest = self.technology.junction, _HEADROOM * self.technology.rail
        return junction.largest * junction.saturation_current * math.exp(highest / self.knee)

    @property
    def epochs(self) -> int:
        """Of the whole training."""
        return min(max(round(_STEPS / math.ceil(self.task.samples / self.batch_size)), 5), _LONGEST)

    @property
    def batch_size(self) -> int:
        """Samples a step: the rule's, less where there are few, more where there are many."""
        return 512 if self.task.samples > 20_000 else 16 if self.task.samples < 500 else _BATCH

    def at_gain(self, gain: float) -> Design:
        """The same network with other amplifiers: outputs, and with them logits, go with the gain, nodes stay.

        The feedback 1/a keeps the load a k Σg. The nudge has to move the outputs in proportion, so that β goes with a².
        """
        ratio = gain / self.gain
        return replace(
            self, gain=gain, logit_scale=rounded(self.logit_scale * ratio, 3), nudging=rounded(self.nudging * ratio**2)
        )

    def at_speed(self, factor: float) -> Design:
        """The same network with larger conductances, as far as they go: all voltages stay, and all currents grow."""
        low, high = self.conductance_range
        factor = min(factor, self.technology.conductance.range[1] / high)
        if factor <= 1:
            return self
        ratio = raised(factor * high) / high
        return replace(
            self,
            conductance_range=(rounded(low * ratio, 6), rounded(high * ratio, 6)),
            clamp_current=rounded(self.clamp_current * ratio),
            nudging=rounded(self.nudging * ratio),
        )

    def tables(self) -> dict[str, Any]:
        """The tables of a spec."""
        low, high = self.conductance_range
        saturation, bias = self.clamp
        tables: dict[str, Any] = {
            "data": {"source": self.task.source, "scaling": "centred", "input_voltage": self.input_voltage},
            "network": {
                "sizes": list(self.task.sizes),
                "gain": self.gain,
                "drive": "differential",
                "bias_voltage": self.technology.rail,
                "conductance_range": [low, high],
                "initial_range": [low, max(rounded(_TRAINED_SHARE * high), low)],
            },
            "diode": {
                "model": "shockley",
                "clamp": "alternating",
                "saturation_current": rounded(saturation, 3),
                "ideality": self.technology.junction.ideality,
                "upper": -rounded(bias, 4),
                "lower": rounded(bias, 4),
            },
            "cost": {"function": "cross_entropy", "logit_scale": self.logit_scale},
            "gradient": {"method": "ep", "nudging": self.nudging, "variant": "centered", "kind": "frozen"},
            "training": {
                "seed": self.task.seed,
                "epochs": self.epochs,
                "batch_size": self.batch_size,
                "optimizer": "adam",
                "learning_rate": self.learning_rate,
                "schedule": "cosine",
                "input_noise": self.input_noise,
            },
            "converters": {"dac_range": self.technology.rail},
        }
        if self.technology.segment_resistance:
            ohms = self.technology.segment_resistance
            tables["wires"] = {"row_resistance": ohms, "column_resistance": ohms}
        return tables

    def chip_tables(self) -> dict[str, Any]:
        """What the tables of a spec have besides on a chip of the technology."""
        technology, converters = self.technology, self.technology.converters
        spreads = {
            "conductance_spread": technology.conductance.spread,
            "saturation_current_spread": technology.junction.spread,
            "gain_spread": technology.amplifier.gain_spread,
            "feedback_spread": technology.amplifier.gain_spread,
            "amplifier_offset": technology.amplifier.offset,
        }
        tables: dict[str, Any] = {"chip": {key: value for key, value in spreads.items() if value}}
        reads: dict[str, Any] = {"adc_range": None if self.read_ranges is None else list(self.read_ranges)}
        reads |= {"dac_bits": converters.dac_bits, "adc_bits": converters.adc_bits}
        reads |= {"adc_offset": converters.offset or None, "adc_capacitance": technology.capacitance.sample}
        tables["converters"] = {key: value for key, value in reads.items() if value is not None}
        return {name: table for name, table in tables.items() if table}


def cheapest_range(technology: Technology) -> tuple[float, float]:
    """The lowest conductances of a technology: power goes with them, accuracy does not. [S]"""
    low, high = technology.conductance.range
    ratio = technology.conductance.ratio
    return low, high if ratio is None else min(rounded(low * ratio, 6), high)


def raised(value: float) -> float:
    """The next larger number of two digits."""
    exponent = math.floor(math.log10(value)) - 1
    return float(f"{math.ceil(value / 10.0**exponent - 1e-9)}e{exponent}")


def rounded(value: float, digits: int = 2) -> float:
    """A number as a person writes it."""
    return float(f"{value:.{digits - 1}e}")
