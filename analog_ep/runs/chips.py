"""From the words of a spec to the chip that they stand for."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import numpy as np

from analog_ep.cards import load_card
from analog_ep.circuit import (
    Branches,
    Cells,
    Chip,
    Circuit,
    Converter,
    Converters,
    LearningCircuit,
    draw_faults,
    draw_segment_faults,
    read_faults,
)
from analog_ep.circuit.converters import sampled_noise
from analog_ep.circuit.drawing import stream
from analog_ep.circuit.places import n_places
from analog_ep.constants import DEFAULT_TEMPERATURE
from analog_ep.errors import CheckpointError, SpecError
from analog_ep.networks import HardwareNetwork
from analog_ep.networks.needs import ranged_of
from analog_ep.spec import ChipSpec, ConvertersSpec, Spec

_SPREADS = {
    "siemens": "conductance_spread",
    "segment": "segment_spread",
    "saturation_current": "saturation_current_spread",
    "ideality": "ideality_spread",
    "threshold": "threshold_spread",
    "gain": "gain_spread",
    "feedback": "feedback_spread",
    "offset": "amplifier_offset",
    "gate_threshold": "gate_threshold_spread",
    "transconductance": "transconductance_spread",
}
"""Keys of the table by the names that `Chip.draw` has for them."""


def build_chip(spec: Spec, network: HardwareNetwork) -> Chip | None:
    """The spec's chip, drawn for a network; None where it asks for none.

    Raises
    ------
    CircuitError
        If it asks for mismatch of something that the network does not have.
    DataError
        If the map of faults cannot be used.
    SpecError
        If a conductance would not be positive at its temperature, or it gives an amplifier where there is none.
    """
    if spec.chip is None and spec.converters is None:
        return None
    table, circuit = spec.chip or ChipSpec(), network.circuit()
    seed = chip_seed(spec)
    need = "a chip of a spec needs a circuit whose conductances or gate voltages learn"
    trained = ranged_of(network, need, "leave the chip out")
    bounds = {name: trained.range_of(name) for name, _ in trained.named_parameters()}
    wires = 0.0 if spec.wires is None else spec.wires.temperature_coefficient
    chip = _array(table, circuit, bounds, seed, wires)
    if table.twin:
        other = int(stream(seed, "twin").integers(2**32))
        chip = replace(chip, twin=_array(table, circuit, bounds, other, wires))
    if table.comparator or table.learning_bias or table.learning_bias_mean:
        learning = LearningCircuit.draw(circuit, seed, table.learning_bias, table.learning_bias_mean, table.comparator)
        chip = replace(chip, learning=learning)
    if spec.converters is not None:
        chip = replace(chip, converters=_converters(spec.converters, table.temperature, circuit, seed))
    retention = float("inf") if table.retention is None else table.retention
    return replace(chip, cells=Cells(table.levels, table.rounding, retention, table.diffusion))


def with_chip_seed(spec: Spec, seed: int) -> Spec:
    """The spec with another seed of its chip, and everything else as it was."""
    table = (spec.chip or ChipSpec()).model_copy(update={"seed": seed})
    return spec.model_copy(update={"chip": table})


def chip_seed(spec: Spec) -> int:
    """Seed that a spec's chip is drawn from."""
    return spec.training.seed if spec.chip is None or spec.chip.seed is None else spec.chip.seed


def require_chip_of(spec: Spec, network: HardwareNetwork, chip: Chip) -> None:
    """Refuse a chip of another kind than the spec's, whatever was drawn or measured for it.

    Parameters
    ----------
    spec : Spec
        With [chip] or [converters].
    network : HardwareNetwork
        The spec's.
    chip : Chip
        From elsewhere, such as the folder of a run.

    Raises
    ------
    CheckpointError
        If converters, learning circuits, cells or a twin array are others than the spec says, or something that the
        spec draws was not drawn.
    """
    # A map of faults may have gone since the chip was made.
    table = None if spec.chip is None else spec.chip.model_copy(update={"fault_map": None})
    wanted = build_chip(spec.model_copy(update={"chip": table}), network)
    if wanted is None:
        raise CheckpointError("a chip must be one that the spec asks for, found a spec without [chip] and [converters]")
    (asked, facts), (found, own_facts) = wanted.packed(), chip.packed()
    for name, fact in facts.items():
        if own_facts[name] != fact:
            raise CheckpointError(
                f"the chip must have {_said(name, fact)}, as its spec says, found {_said(name, own_facts[name])}; put "
                "back the file that the run began with"
            )
    names = dict.fromkeys(asked)
    if spec.chip is not None and spec.chip.fault_map is not None:
        mapped = [f"value/{group.label}.siemens" for group in network.circuit().trainable_groups()]
        arrays = ["", "twin/"] if spec.chip.twin else [""]
        names |= dict.fromkeys(f"{array}{name}" for array in arrays for name in mapped)
    for name in names:
        if name not in found or (name in asked and found[name].shape != asked[name].shape):
            raise CheckpointError(
                f"the chip must have {name.replace('/', ' ')}, as its spec says, found none or other ones; put back "
                "the file that the run began with"
            )


def _said(name: str, fact: object) -> str:
    return f"no {name}" if fact is None else f"{name} {fact}"


def _array(table: ChipSpec, circuit: Circuit, ranges: dict[str, tuple[float, float]], seed: int, wires: float) -> Chip:
    spreads = {name: getattr(table, key) for name, key in _SPREADS.items() if getattr(table, key)}
    chip = Chip.draw(circuit, seed, **spreads)
    factors, values = dict(chip.factors), dict(chip.values)
    if table.corner is not None:
        values |= _at_corner(table.corner, circuit)
    if table.amplifier is not None:
        _measured_amplifiers(factors, values, table.amplifier, circuit)
    if table.temperature is not None:
        _heat(factors, values, table.temperature, (table.temperature_coefficient, wires), circuit)
    low = table.stuck_low + 0.5 * table.stuck
    high = table.stuck_high + 0.5 * table.stuck
    left = table.open_conductance
    if low or high or table.open:
        values |= draw_faults(circuit, seed, ranges, low=low, high=high, open_=table.open, open_conductance=left)
    if table.open_segments or table.shorted_segments:
        values |= draw_segment_faults(circuit, seed, table.open_segments, table.shorted_segments, left)
    if table.fault_map is not None:
        mapped = read_faults(circuit, Path(table.fault_map), ranges, open_conductance=left)
        for key, value in mapped.items():
            values[key] = np.where(np.isnan(value), values.get(key, np.nan), value)
    return replace(chip, factors=factors, values=values, temperature=table.temperature)


def _at_corner(corner: str, circuit: Circuit) -> dict[str, np.ndarray]:
    """Transistors at another corner of their process."""
    found = {}
    for group in circuit.groups:
        if (index := group.corner_index(corner)) is not None:
            found[f"{group.label}.corner"] = np.full(len(group), index)
    if not found:
        raise SpecError("chip.corner must act on transistors by tables, found a network without any; leave it out")
    return found


def _measured_amplifiers(
    factors: dict[str, np.ndarray], values: dict[str, np.ndarray], card: str, circuit: Circuit
) -> None:
    """Gain and offset of a card in place of the nominal ones, with the spreads on top."""
    gain, offset = load_card(card).amplifier()
    groups = [group for group in circuit.groups if {"gain", "offset"} <= group.parameters().keys()]
    if not groups:
        raise SpecError("chip.amplifier must act on amplifiers, found a network without any; leave it out")
    for group in groups:
        gains, offsets = f"{group.label}.gain", f"{group.label}.offset"
        values[gains] = gain * factors.pop(gains, np.ones(len(group)))
        values[offsets] = offset + values.get(offsets, np.zeros(len(group)))


def _heat(
    factors: dict[str, np.ndarray],
    values: dict[str, np.ndarray],
    kelvin: float,
    coefficients: tuple[float, float],
    circuit: Circuit,
) -> None:
    """Junctions at a temperature, conductances of devices and resistances of wires by their coefficients [1/K]."""
    junctions = [group for group in circuit.groups if len(group.own_temperatures())]
    values |= {f"{group.label}.temperature": np.full(len(group), kelvin) for group in junctions}
    devices, wires = (1 + coefficient * (kelvin - DEFAULT_TEMPERATURE) for coefficient in coefficients)
    for key, what, factor in (("chip", "conductances", devices), ("wires", "resistances", wires)):
        if factor <= 0:
            raise SpecError(f"{key}.temperature_coefficient must leave {what} positive, found a factor of {factor:g}")
    _scale(factors, circuit.trainable_groups(), devices)
    _scale(factors, [group for group in circuit.groups if group.is_wire()], 1 / wires)


def _scale(factors: dict[str, np.ndarray], groups: Iterable[Branches], factor: float) -> None:
    if factor == 1:
        return
    for group in groups:
        key = f"{group.label}.siemens"
        factors[key] = factor * factors.get(key, np.ones(n_places(group)))


def _converters(table: ConvertersSpec, kelvin: float | None, circuit: Circuit, seed: int) -> Converters:
    infinite = float("inf")
    held = infinite if table.adc_capacitance is None else table.adc_capacitance
    noise = math.hypot(table.adc_noise, sampled_noise(held, DEFAULT_TEMPERATURE if kelvin is None else kelvin))
    dac = Converter(table.dac_bits, infinite if table.dac_range is None else table.dac_range, table.dac_noise)
    adc = [Converter(table.adc_bits, scale, noise) for scale in table.adc_range or [infinite]]
    return Converters.draw(circuit, seed, dac, adc, table.dac_offset, table.adc_offset)
