"""A chip that measures itself: offsets of its amplifiers and biases of its learning circuits, to be corrected for."""

from __future__ import annotations

import copy
import json
from dataclasses import dataclass

import numpy as np
import torch
from rich.table import Table
from torch import Tensor

from analog_ep.circuit import Chip, LearningCircuit
from analog_ep.equilibrium.equilibrium import Solver, solve
from analog_ep.equilibrium.layered.resistive_layers import Ladder
from analog_ep.equilibrium.solver_of import solver_of
from analog_ep.errors import DataError
from analog_ep.networks import ConductanceNetwork, CrossbarNetwork, Network, Question
from analog_ep.support.shown import Tabled

_FIRST_TRIM = 1e-12
"""Smallest bias that a comparator's trim looks for. [V²]"""

_CONVERTERS = "offsets of the converters apart from those of the amplifiers"

_GROWTH = 8.0
_MOST_GROWTHS = 16


@dataclass(frozen=True, eq=False)
class ChipCalibration(Tabled):
    """What a chip measured of itself.

    Attributes
    ----------
    known : Chip
        Estimated offsets of the amplifiers and biases of the learning circuits; `EquilibriumPropagation(known=…)`
        corrects for them.
    reads : int
        Equilibria that were read for the offsets.
    comparisons : int
        Pairs of phases without a nudge that the learning circuits compared.
    offset_deviation : dict of str to float
        1 σ of the mean of the reads, per amplifier stage, 0 where the reads have no noise. [V]
    untold : tuple of str
        What these reads cannot tell.
    """

    known: Chip
    reads: int
    comparisons: int
    offset_deviation: dict[str, float]
    untold: tuple[str, ...]

    def to_json(self) -> str:
        """What was found, by the part of the chip, as a JSON object."""
        learning = {} if self.known.learning is None else self.known.learning.bias
        return json.dumps(
            {
                "reads": self.reads,
                "comparisons": self.comparisons,
                "offsets": {name: values.tolist() for name, values in self.known.values.items()},
                "offset_deviation": self.offset_deviation,
                "learning_bias": {name: bias.tolist() for name, bias in learning.items()},
                "untold": list(self.untold),
            }
        )

    def sentence(self) -> str:
        """How much was measured, and what was not."""
        return (
            f"{self.reads} reads and {self.comparisons} comparisons without a nudge; "
            f"they cannot tell {', nor '.join(self.untold)}."
        )

    def table(self) -> Table:
        """What was found, for a terminal."""
        table = Table("quantity", "elements", "mean", "spread", "1 σ", title="Chip")
        for key, values in self.known.values.items():
            sigma = self.offset_deviation[key]
            table.add_row(f"{key} [V]", str(len(values)), f"{values.mean():.3g}", f"{values.std():.3g}", f"{sigma:.1g}")
        if self.known.learning is not None:
            for name, bias in self.known.learning.bias.items():
                mean, spread = f"{bias.mean():.3g}", f"{bias.std():.3g}"
                table.add_row(f"{name}, learning bias [V²]", str(len(bias)), mean, spread, "")
        return table


def calibrate_chip(
    network: ConductanceNetwork,
    chip: Chip,
    *,
    inputs: Tensor | None = None,
    reads: int = 4,
    bits: int = 12,
    solver: Solver | None = None,
    seed: int = 0,
) -> ChipCalibration:
    """Measure offsets and learning biases on a chip, with nothing but what the chip itself can read.

    - *Amplifiers.* Kirchhoff's law at a hidden node leaves one unknown, the current that the offset of
      the amplifier behind it makes that amplifier draw: k a R per volt, R all its conductances. The node voltages are
      read, the conductances are those that were programmed.
    - *Learning circuits.* Two phases without a nudge have no contrast: what the circuit beside a cell sees is its
      bias. Where only a sign comes out, a trim is moved until the sign changes: by factors until it has, then by
      halves.

    Parameters
    ----------
    network : ConductanceNetwork
        The nominal network with the programmed conductances. Offsets are measured where crossbars lie in layers.
    chip : Chip
        The hardware; only its equilibria, its converters and its learning circuits are used.
    inputs : Tensor (n_samples, n_inputs), optional
        Inputs at which nodes are read; by default zero, at which errors of the conductances matter least. Behind a node
        that an ideal diode holds at all of them the offset stays unknown. [V]
    reads : int
        How often each is read, against the noise of the converters.
    bits : int
        Halvings of a comparator's trim.
    solver : Solver, optional
        Finds the chip's equilibria.
    seed : int
        Of the converters' noise.

    Raises
    ------
    DataError
        If reads or bits are fewer than one, or there is nothing on the chip that they could find.
    """
    if reads < 1 or bits < 1:
        raise DataError(f"reads and bits must be at least 1, found {reads} and {bits}")
    generator = torch.Generator().manual_seed(seed)
    solver, network = solver_of(network) if solver is None else solver, copy.deepcopy(network).double()
    inputs = torch.zeros(1, network.n_inputs, dtype=torch.float64) if inputs is None else inputs.double()
    offsets = network.answer(_OffsetsOf(chip, inputs, reads, solver, generator))
    comparisons = _Comparisons(network, chip, solver, generator)
    return offsets.beside(comparisons.learning(bits, reads), comparisons.count)


@dataclass(frozen=True, eq=False)
class _Offsets:
    """Offsets by the chip's keys, 1 σ of each stage, how many equilibria were read, and what these cannot tell."""

    values: dict[str, np.ndarray]
    deviations: dict[str, float]
    reads: int
    untold: tuple[str, ...] = ()

    def beside(self, learning: LearningCircuit | None, comparisons: int) -> ChipCalibration:
        """With the learning biases that so many comparisons gave, all that the chip measured."""
        if learning is None and not self.values:
            raise DataError(
                "the chip must have amplifiers or learning circuits to calibrate, found neither behind a layer"
            )
        known = Chip({}, self.values, learning)
        untold = (*self.untold, "errors of the amplifiers' gains", _CONVERTERS)
        return ChipCalibration(known, self.reads, comparisons, self.deviations, untold)


@dataclass(frozen=True, eq=False)
class _OffsetsOf(Question[_Offsets]):
    chip: Chip
    inputs: Tensor
    reads: int
    solver: Solver
    generator: torch.Generator

    def network(self, network: Network) -> _Offsets:
        return _Offsets({}, {}, 0, ("offsets of amplifiers that lie behind no layer",))

    def crossbars(self, network: CrossbarNetwork) -> _Offsets:
        values, deviations, reached = _offsets(network, self.chip, self.inputs, self.reads, self.solver, self.generator)
        untold = () if reached else ("offsets behind nodes that an ideal diode holds at every input",)
        return _Offsets(values, deviations, self.reads * len(self.inputs), untold)


def _offsets(
    network: CrossbarNetwork, chip: Chip, inputs: Tensor, reads: int, solver: Solver, generator: torch.Generator
) -> tuple[dict[str, np.ndarray], dict[str, float], bool]:
    """Offsets by the chip's keys, 1 σ of each stage, and whether every amplifier was reached."""
    if all(layout.passive for layout in network.layouts[1:]):
        return {}, {}, True
    state = solve(network, inputs, solver=solver, chip=chip)
    each = [_offsets_of(network, inputs, chip.read(state.layers, generator)) for _ in range(reads)]
    found = {key: np.array([offsets[key] for offsets in each]) for key in each[0]}
    reached = all(np.isfinite(values).all() for values in found.values())
    values = {key: np.nan_to_num(values).mean(axis=0) for key, values in found.items()}
    spread = {
        key: float(np.nan_to_num(values).std(axis=0, ddof=1).mean() / np.sqrt(reads)) if reads > 1 else 0.0
        for key, values in found.items()
    }
    return values, spread, reached


def _offsets_of(network: CrossbarNetwork, inputs: Tensor, layers: tuple[Tensor, ...]) -> dict[str, np.ndarray]:
    """Offsets from one set of reads; NaN behind nodes that an ideal diode holds at every input."""
    known: dict[str, np.ndarray] = {}
    for k in range(network.n_stages - 1):
        if network.layouts[k + 1].passive:
            continue
        # The amplifiers before the layer are known by now and in its stages; those behind it are still without.
        ladder = Ladder.of(network, inputs, Chip({}, dict(known)))
        clamp, layer = ladder.clamps[k], layers[k]
        drive = ladder.stages[0].forward(inputs) if k == 0 else ladder.forward(k, layers)
        excess = drive + ladder.returned(k, layers) - ladder.totals[k] * layer
        slope = ladder.totals[k].expand_as(layer)
        weight = torch.ones_like(layer)
        if clamp is not None:
            current, rise = clamp.current_and_slope(layer)
            excess, slope = excess - current, slope + rise
            weight = (~clamp.holds(layer, margin=1e-9 + 1e-6 * layer.abs())).to(layer)
        # An error of the read counts as much as all that hangs on the node.
        weight = weight / slope**2
        total = weight.sum(0)
        offset = (weight * excess).sum(0) / total / ladder.stages[k + 1].input_load
        known[f"amplifier{k + 1}.offset"] = torch.where(total > 0, offset, torch.nan).detach().numpy()
    return known


class _Comparisons:
    """Comparisons of two free phases, and how many there were."""

    def __init__(self, network: ConductanceNetwork, chip: Chip, solver: Solver, generator: torch.Generator):
        self.network, self.chip, self.generator = network, chip, generator
        self.count = 0
        self._inputs = torch.zeros(1, network.n_inputs, dtype=torch.float64)
        self._layers = solve(network, self._inputs, solver=solver, chip=chip).layers

    def learning(self, bits: int, reads: int) -> LearningCircuit | None:
        """The learning circuits' biases; None where the chip has none of these."""
        return None if self.chip.learning is None else LearningCircuit(self.biases(bits, reads))

    def biases(self, bits: int, reads: int) -> dict[str, np.ndarray]:
        """Estimated biases by parameter. [V²]"""
        learning = self.chip.learning
        assert learning is not None
        if not learning.comparator:
            each = [self._seen({}) for _ in range(reads)]
            return {name: np.mean([seen[name] for seen in each], axis=0) for name in learning.bias}
        return self._trimmed(bits)

    def _trimmed(self, bits: int) -> dict[str, np.ndarray]:
        zero = {name: np.zeros(len(bias)) for name, bias in self.chip.learning.bias.items()}  # pyright: ignore
        sign = self._seen(zero)
        inner, outer = zero, {name: s * _FIRST_TRIM for name, s in sign.items()}
        for _ in range(_MOST_GROWTHS):
            beyond = {name: seen * sign[name] <= 0 for name, seen in self._seen(outer).items()}
            if all(done.all() for done in beyond.values()):
                break
            inner = {name: np.where(beyond[name], inner[name], outer[name]) for name in zero}
            outer = {name: np.where(beyond[name], outer[name], _GROWTH * outer[name]) for name in zero}
        for _ in range(bits):
            middle = {name: (inner[name] + outer[name]) / 2 for name in zero}
            short = {name: seen * sign[name] > 0 for name, seen in self._seen(middle).items()}
            inner = {name: np.where(short[name], middle[name], inner[name]) for name in zero}
            outer = {name: np.where(short[name], outer[name], middle[name]) for name in zero}
        return {name: (inner[name] + outer[name]) / 2 for name in zero}

    def _seen(self, trim: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        """What the learning circuits make of two phases without a nudge, each less its trim."""
        self.count += 1
        learning = self.chip.learning
        assert learning is not None
        before, after = (self.network.read(self._layers, self.chip, self.generator) for _ in range(2))
        change = tuple(b - a for a, b in zip(before, after, strict=True))
        contrast: dict[str, Tensor] = self.network.contrast(self._inputs, before, change)
        weights = self.network.weight_shares()
        seen = {}
        for name, value in contrast.items():
            if name not in learning.bias:
                continue
            total = (value / weights[name]).detach().numpy().ravel() + learning.bias[name] - trim.get(name, 0.0)
            seen[name] = np.sign(total) if learning.comparator else total
        return seen
