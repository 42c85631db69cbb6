"""What the resistance of a trained network's wires does: voltage lost at every cell, outputs, classes, array size."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np
import torch
from rich.table import Table
from torch import Tensor

from analog_ep.circuit import Chip
from analog_ep.equilibrium.equilibrium import solve
from analog_ep.equilibrium.layered.relaxation import Relaxation
from analog_ep.errors import StimulusError
from analog_ep.networks import CrossbarNetwork
from analog_ep.networks.dense import DenseLayout
from analog_ep.networks.lines import Lines
from analog_ep.support.shown import Tabled

SCALES = (0.0, 0.1, 0.3, 1.0, 3.0, 10.0)
"""Factors on the resistances of the wires."""

_MAPPED = 100
"""Samples over which the voltage lost at a cell is averaged."""

_LARGEST = 512
"""Rows and columns of the largest array that is looked at."""


@dataclass(frozen=True, eq=False)
class CrossbarDrop:
    """Voltage that wires take from the cells of a crossbar.

    Attributes
    ----------
    label : str
        Its parameter.
    drop : ndarray (n_rows, n_columns)
        Between source and node less what is left across the cell, magnitudes averaged over samples. [V]
    mean, worst : float
        Over the cells. [V]
    share : float
        Mean drop, of the mean voltage between source and node.
    sneak_share : float
        Largest part of a column's conductance that leads to other columns through the resistance of the rows.
    """

    label: str
    drop: np.ndarray
    mean: float
    worst: float
    share: float
    sneak_share: float


@dataclass(frozen=True)
class AtScale:
    """The network with its wires' resistances multiplied.

    Attributes
    ----------
    scale : float
        Factor; 0 for ideal wires.
    output_error : float
        Largest change of an output against ideal wires. [V]
    classes_changed : int
        Samples whose largest output is another.
    accuracy : float or None
        Share of samples whose largest output is that of the target; None with one output.
    """

    scale: float
    output_error: float
    classes_changed: int
    accuracy: float | None


@dataclass(frozen=True)
class WireReport(Tabled):
    """What wires do to a trained network.

    Attributes
    ----------
    wires : Lines
        As the network has them.
    samples : int
        Over which outputs and classes were compared.
    crossbars : tuple of CrossbarDrop
        One each.
    scales : tuple of AtScale
        One each.
    largest : dict of float to int
        Most rows and columns of a square array of the network's mean conductance, without tiles, whose worst column
        current is within this share of that of ideal wires, all rows being at one voltage; `limit` and more where it
        is the limit.
    limit : int
        Where that search ends.
    """

    wires: Lines
    samples: int
    crossbars: tuple[CrossbarDrop, ...]
    scales: tuple[AtScale, ...]
    largest: dict[float, int]
    limit: int = _LARGEST

    def to_json(self) -> str:
        """The figures as a JSON object, without the maps."""
        crossbars = [{k: v for k, v in asdict(each).items() if k != "drop"} for each in self.crossbars]
        facts = {
            "wires": self.wires.facts(),
            "samples": self.samples,
            "crossbars": crossbars,
            "scales": [asdict(each) for each in self.scales],
            "largest_array": {f"{error:g}": size for error, size in self.largest.items()},
        }
        return json.dumps(facts)

    def table(self) -> Table:
        """Crossbars, then scales, then arrays."""
        table = Table("wires", "found", title=f"{self.samples} samples")
        for each in self.crossbars:
            lost = f"{each.mean:.3g} V mean ({each.share:.2%}), {each.worst:.3g} V worst"
            table.add_row(f"{each.label}: lost at a cell", f"{lost}; sneak paths {each.sneak_share:.2%}")
        for at in self.scales:
            accuracy = "" if at.accuracy is None else f", accuracy {at.accuracy:.2%}"
            changed = f"outputs within {at.output_error:.3g} V of ideal wires, {at.classes_changed} classes changed"
            table.add_row(f"resistances × {at.scale:g}", changed + accuracy)
        for error, size in self.largest.items():
            more = " or more" if size >= self.limit else ""
            table.add_row(f"largest array within {error:.2%}", f"{size} × {size}{more}")
        return table


def wire_report(
    network: CrossbarNetwork,
    inputs: Tensor,
    targets: Tensor,
    *,
    chip: Chip | None = None,
    scales: Sequence[float] = SCALES,
    errors: Sequence[float] = (0.01, 0.05),
) -> WireReport:
    """Compare a network with itself with better and with worse wires.

    Parameters
    ----------
    network : ResistiveNetwork
        With wires.
    inputs : Tensor (n_samples, n_inputs)
        Inputs. [V]
    targets : Tensor (n_samples, n_outputs)
        Their largest element is the class.
    chip : Chip, optional
        Its mismatch, in the maps alone: what is drawn for segments has no meaning at other resistances.
    scales : sequence of float
        Factors on all resistances, ≥ 0.
    errors : sequence of float
        Shares for which the largest array is sought.

    Raises
    ------
    StimulusError
        If the network has no wires, or a scale or an error cannot be.
    ConvergenceError
        If an equilibrium was not reached.
    """
    wires = network.lines
    if wires.ideal:
        raise StimulusError(
            "a study of wires needs a network that has them, found ideal lines; give the spec of a network of "
            "crossbars [wires]"
        )
    if any(not 0 <= scale < float("inf") for scale in scales) or any(not 0 < error < 1 for error in errors):
        raise StimulusError(f"scales must be ≥ 0 and errors in 0…1, found {list(scales)} and {list(errors)}")
    ideal = solve(network.rewired(wires.scaled(0.0)), inputs, solver=Relaxation()).outputs
    found = []
    for scale in scales:
        outputs = solve(network.rewired(wires.scaled(scale)), inputs, solver=Relaxation()).outputs
        changed = outputs.argmax(-1) != ideal.argmax(-1)
        right = outputs.argmax(-1) == targets.argmax(-1)
        accuracy = float(right.double().mean()) if outputs.shape[-1] > 1 else None
        found.append(AtScale(scale, float((outputs - ideal).abs().max()), int(changed.sum()), accuracy))
    mean = float(torch.cat([g.flatten() for g in network.conductances.values()]).mean())
    largest = {error: largest_array(wires, mean, error) for error in errors}
    drops = tuple(_drops(network, inputs[:_MAPPED], chip))
    return WireReport(wires, len(inputs), drops, tuple(found), largest)


def largest_array(wires: Lines, siemens: float, error: float) -> int:
    """Most rows of a square array of equal cells whose worst column current is within a share of that of ideal wires.

    Parameters
    ----------
    wires : Lines
        Their tiles are left out.
    siemens : float
        Conductance of every cell. [S]
    error : float
        Share of the current, all rows being at one voltage and all columns at another.

    Returns
    -------
    int
        0 where a single cell is beyond it, and 512 at most.
    """
    whole = wires.in_one_tile()

    def within(size: int) -> bool:
        layout = DenseLayout("array", size, size, differential=False, biased=False)
        cells = torch.full(layout.shape, siemens, dtype=torch.float64)
        stage = whole.crossbar(layout, lambda: cells, 0.0, None).stage(1.0, 0.0, drives=False)
        current = stage.forward(torch.ones(1, size, dtype=torch.float64))
        return float((1 - current / (siemens * size)).abs().max()) <= error

    good, bad = 0, 1
    while bad <= _LARGEST and within(bad):
        good, bad = bad, 2 * bad
    while bad - good > 1 and good < _LARGEST:
        middle = (good + bad) // 2
        good, bad = (middle, bad) if within(middle) else (good, middle)
    return good


def _drops(network: CrossbarNetwork, inputs: Tensor, chip: Chip | None) -> list[CrossbarDrop]:
    layers = solve(network, inputs, solver=Relaxation(), chip=chip).layers
    before, found = inputs, []
    for s, (layout, layer) in enumerate(zip(network.layouts, layers, strict=True)):
        if s:
            gain, offset = network.amplifiers(s, chip, layers[s - 1])
            before = gain * (layers[s - 1] + offset)
        crossbar = network.crossbar(s, chip)
        across, left = crossbar.terminal_voltages(before, layer), crossbar.cell_voltages(before, layer)
        drop, stage = (across - left).abs().mean(0), crossbar.stage(1.0, 0.0, drives=False)
        sneak = 0.0 if stage.mutual is None else float((stage.mutual.sum(0) / stage.total).max())
        share = float(drop.mean() / across.abs().mean())
        found.append(CrossbarDrop(layout.label, drop.numpy(), float(drop.mean()), float(drop.max()), share, sneak))
    return found
