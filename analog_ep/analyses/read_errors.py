"""What reads of finite precision do to a gradient: predictions for thermal noise, levels, and subtracted floats."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from analog_ep.circuit import Chip, Converters
from analog_ep.networks import CrossbarNetwork
from analog_ep.networks.crossbar import Crossbar
from analog_ep.networks.layout import StageLayout

_TERMS = 50
"""Of the Fourier series of f(1 − f): what is left out is 0.2 % of a step squared, and noise makes it less."""


@dataclass(frozen=True)
class Reads:
    """How each layer's nodes are read.

    Attributes
    ----------
    noise : tuple of float
        Rms of the noise of one read of a node, one a layer. [V]
    step : tuple of float
        Distance of two levels; 0 for none. [V]
    full_scale : tuple of float
        A read is clipped to ± this voltage; infinite for no limit. [V]
    """

    noise: tuple[float, ...]
    step: tuple[float, ...]
    full_scale: tuple[float, ...]

    @classmethod
    def same(cls, layers: int, noise: float, step: float = 0.0, full_scale: float = math.inf) -> Reads:
        """So many layers that are read alike."""
        return cls((noise,) * layers, (step,) * layers, (full_scale,) * layers)

    @classmethod
    def of(cls, converters: Converters, layers: int) -> Reads:
        """As converters read so many layers."""
        adcs = converters.adc * layers if len(converters.adc) == 1 else converters.adc
        return cls(*zip(*((adc.noise, adc.step, adc.full_scale) for adc in adcs), strict=True))

    def clipped(self, layers: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        """Voltages as far as they are read. [V]"""
        return tuple(layer.clamp(-limit, limit) for layer, limit in zip(layers, self.full_scale, strict=True))


def level_variance(change: Tensor, noise: float, step: float) -> Tensor:
    r"""Variance that levels add to the difference of two reads of a node whose voltage changes.

    Where a level lies is taken as random. The difference of two levels of what differs by D is one of the two multiples
    of the step Δ around D, and of variance Δ² f (1 − f), f being the fractional part of D/Δ; with independent noise of
    rms σ in both reads, D = d + √2 σ ξ, the mean of this is

    .. math:: Δ^2 \left[\frac{1}{6} - \sum_{k≥1} \frac{\cos(2πk d/Δ)}{π^2 k^2} e^{-4π^2 k^2 σ^2/Δ^2}\right]

    Δ²/6 is reached for σ above a third of Δ. Without noise a change far below Δ has the variance |d| Δ: levels do not
    hide it, they make it rare.

    Parameters
    ----------
    change : Tensor
        Of the voltage, d. [V]
    noise, step : float
        σ and Δ. [V]

    Returns
    -------
    Tensor
        In the shape of `change`. [V²]
    """
    if step == 0:
        return torch.zeros_like(change)
    steps = change.abs() / step
    if noise == 0:
        part = steps - steps.floor()
        return step**2 * part * (1 - part)
    total = torch.full_like(steps, 1 / 6)
    for k in range(1, _TERMS + 1):
        damping = math.exp(-((2 * math.pi * k * noise / step) ** 2)) / (math.pi * k) ** 2
        if damping < 1e-9:
            break
        total -= damping * torch.cos(2 * math.pi * k * steps)
    return step**2 * total.clamp(min=0)


def float32_variance(layer: Tensor) -> Tensor:
    """Variance of the difference of two voltages that are each held as a float32, Δ²/6 with Δ their spacing. [V²]"""
    _, exponent = torch.frexp(layer.abs())
    return torch.ldexp(torch.ones_like(layer), exponent - 24).square() / 6


@dataclass(frozen=True, eq=False)
class ReadErrors:
    """Variances of what reads of two phases are off, each a tuple of Tensor (n_samples, n_units), one a layer.

    Attributes
    ----------
    single : tuple of Tensor
        Of one read. [V²]
    difference : tuple of Tensor
        Of the difference of a node's two reads. [V²]
    """

    single: tuple[Tensor, ...]
    difference: tuple[Tensor, ...]

    @classmethod
    def of_noise(cls, reads: Reads, changes: tuple[Tensor, ...]) -> ReadErrors:
        """Of noise that is independent in every read; `changes` of the layers' voltages give the shapes."""
        power = [torch.full_like(d, sigma**2) for d, sigma in zip(changes, reads.noise, strict=True)]
        return cls(tuple(power), tuple(2 * each for each in power))

    @classmethod
    def of_levels(cls, reads: Reads, changes: tuple[Tensor, ...]) -> ReadErrors:
        """Of levels, between whose reads the layers' voltages change; see `level_variance`."""
        both = [level_variance(*each) for each in zip(changes, reads.noise, reads.step, strict=True)]
        return cls(tuple(torch.full_like(d, u**2 / 12) for d, u in zip(both, reads.step, strict=True)), tuple(both))

    @classmethod
    def of_float32(cls, layers: tuple[Tensor, ...]) -> ReadErrors:
        """Of voltages that are held in single precision."""
        both = [float32_variance(layer) for layer in layers]
        return cls(tuple(each / 2 for each in both), tuple(both))


@torch.no_grad()
def gradient_variance(
    network: CrossbarNetwork,
    inputs: Tensor,
    middle: tuple[Tensor, ...],
    changes: tuple[Tensor, ...],
    errors: ReadErrors,
    chip: Chip | None = None,
) -> dict[str, float]:
    """Sum over all cells of the variance that errors of reads give Δβ times the mean gradient by g, by parameter.

    A cell whose voltage is v in the middle and changes by d has the contrast v d. With errors of the variance S in one
    read and V in the difference of both, which leaves S − V/4 to their mean, its variance is v² V + (d² + V) (S − V/4).
    Amplifiers pass the errors of the reads before them on, by their gain; those of different nodes are independent.
    Within lines of resistance a cell is taken to see what happens at the ends of its lines.

    Parameters
    ----------
    network : CrossbarNetwork
        What is read.
    inputs : Tensor (n_samples, n_inputs)
        Inputs. [V]
    middle, changes : tuple of Tensor (n_samples, n_units)
        Voltages of the layers in the middle between the two phases, and by how much they differ. [V]
    errors : ReadErrors
        Of the layers' nodes.
    chip : Chip, optional
        Mismatch of the hardware.

    Returns
    -------
    dict of str to float
        [V⁴]
    """
    before, none = inputs, torch.zeros_like(inputs)
    rows = (none, none, none)
    result: dict[str, float] = {}
    for s, layout in enumerate(network.layouts):
        columns = (changes[s], errors.single[s], errors.difference[s])
        share = network.weight_ratios[s] / len(inputs)
        if layout.learns:
            result[layout.label] = share**2 * sum(
                _cell_variances(layout, across, *(_sample(each, n) for each in (rows, columns)))
                for n, across in enumerate(_cell_voltages(network.crossbar(s, chip), before, middle[s]))
            )
        if s + 1 < len(middle):
            gain, offset = network.amplifiers(s + 1, chip, middle[s])
            nominal, _ = network.amplifiers(s + 1, None, middle[s])
            before = gain * (middle[s] + offset)
            rows = (nominal * changes[s], nominal**2 * columns[1], nominal**2 * columns[2])
    return result


_Nodes = tuple[Tensor, Tensor, Tensor]
"""Change of voltage [V], and variances of one read and of the difference of two [V²]."""


def _sample(nodes: _Nodes, n: int) -> _Nodes:
    change, single, difference = nodes
    return change[n], single[n], difference[n]


def _cell_voltages(crossbar: Crossbar, before: Tensor, layer: Tensor) -> Iterator[Tensor]:
    """Voltages across the cells, sample by sample: those of all samples may not fit the memory."""
    for n in range(len(before)):
        yield crossbar.cell_voltages(before[n : n + 1], layer[n : n + 1])[0]


def _cell_variances(layout: StageLayout, across: Tensor, rows: _Nodes, columns: _Nodes) -> float:
    """Sum over the cells of one sample's v² V + (d² + V) (S − V/4)."""
    moved = layout.at_rows(rows[0], signed=True) - columns[0]
    single, both = (layout.at_rows(r) + c for r, c in zip(rows[1:], columns[1:], strict=True))
    return float((across.square() * both + (moved.square() + both) * (single - both / 4)).sum())
