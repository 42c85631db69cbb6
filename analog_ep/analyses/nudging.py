"""Which nudgings hardware can use: bias of a finite nudge, and what reads of finite precision leave of its response."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from rich.table import Table
from torch import Tensor

from analog_ep.analyses.read_errors import ReadErrors, Reads, gradient_variance
from analog_ep.circuit import Chip
from analog_ep.equilibrium.equilibrium import Equilibrium, linear_response, solve
from analog_ep.equilibrium.layered.stability import require_stable_nudge
from analog_ep.equilibrium.solver_of import solver_of
from analog_ep.errors import StimulusError, UnstableNudgeError
from analog_ep.networks import CrossbarNetwork
from analog_ep.stimulus import Nudge
from analog_ep.support.shown import Tabled

MOST_BIAS, MOST_ERROR = 0.1, 1.0
"""Of a usable nudging: bias, and random error of one batch, relative to the gradient. A step takes the error's mean to
nothing over the batches, and the bias not."""

_DECADES, _PER_DECADE = (-5.0, 1.5), 2
"""Nudgings that are looked at, from the one whose linear response is as large as the outputs themselves."""

SOURCES = ("read_noise", "levels", "nudge_noise", "float32")
"""Random errors, in the order of tables."""


@dataclass(frozen=True, eq=False)
class LayerBand:
    """One crossbar's gradient, and the response of the layer that it drives, at every nudging.

    Attributes
    ----------
    label : str
        The crossbar's parameter.
    response : ndarray (n_nudgings,)
        Rms over samples and nodes of the voltage difference of the two phases that are compared. [V]
    noise, step : float
        Rms noise of a read of the layer, and distance of two levels, 0 for none. [V]
    bias : ndarray (n_nudgings,)
        Norm of the noiseless gradient, of reads as far as their range goes, less the small-signal one, relative to the
        norm of that; infinite where the nudge is unstable.
    read_noise, levels, nudge_noise, float32 : ndarray (n_nudgings,)
        Rms of the norm of random errors of the batch's mean gradient, relative to the same: of the noise of the two
        reads; of their levels; of the frozen nudge's current, which follows a read; and, of no hardware, of two states
        that are held in single precision and subtracted.
    """

    label: str
    response: np.ndarray
    noise: float
    step: float
    bias: np.ndarray
    read_noise: np.ndarray
    levels: np.ndarray
    nudge_noise: np.ndarray
    float32: np.ndarray

    @property
    def error(self) -> np.ndarray:
        """All that is random in hardware, `(n_nudgings,)`."""
        return np.sqrt(self.read_noise**2 + self.levels**2 + self.nudge_noise**2)

    @property
    def usable(self) -> np.ndarray:
        """Whether bias and error of one batch are small enough, `(n_nudgings,)`."""
        return (self.bias <= MOST_BIAS) & (self.error <= MOST_ERROR)


@dataclass(frozen=True, eq=False)
class NudgingReport(Tabled):
    """Every crossbar at every nudging.

    Attributes
    ----------
    nudgings : ndarray (n_nudgings,)
        Strengths β in rising order. [S], with cross-entropy [A·V]
    own : float
        The spec's.
    signs : tuple of int
        Of the nudges: one, which is compared with the free phase, or two.
    kind : str
        Of the nudges.
    samples : int
        In the batch.
    layers : tuple of LayerBand
        One a crossbar.
    """

    nudgings: np.ndarray
    own: float
    signs: tuple[int, ...]
    kind: str
    samples: int
    layers: tuple[LayerBand, ...]

    def band(self, usable: np.ndarray) -> tuple[float, float] | None:
        """Lowest and highest nudging of the longest stretch in which all are usable; None for none."""
        best: tuple[int, int] | None = None
        start = None
        for n, good in enumerate([*usable, False]):
            if good:
                start = n if start is None else start
            elif start is not None:
                if best is None or n - start > best[1] - best[0]:
                    best = start, n
                start = None
        return None if best is None else (float(self.nudgings[best[0]]), float(self.nudgings[best[1] - 1]))

    @property
    def usable(self) -> tuple[float, float] | None:
        """The band in which every crossbar is."""
        return self.band(np.logical_and.reduce([layer.usable for layer in self.layers]))

    def samples_needed(self, layer: LayerBand) -> np.ndarray:
        """Samples over which the gradient must be averaged until its error is `MOST_ERROR` of it, `(n_nudgings,)`."""
        return np.maximum(1, np.ceil(self.samples * (layer.error / MOST_ERROR) ** 2))

    def to_json(self) -> str:
        """The figures as a JSON object; an infinite bias is null."""
        layers = {}
        for layer in self.layers:
            fields = {k: v.tolist() if isinstance(v, np.ndarray) else v for k, v in vars(layer).items()}
            fields["bias"] = [value if math.isfinite(value) else None for value in fields["bias"]]
            more = {"error": layer.error, "samples_needed": self.samples_needed(layer)}
            fields |= {name: values.tolist() for name, values in more.items()}
            layers[fields.pop("label")] = {**fields, "usable": self.band(layer.usable)}
        facts = {name: getattr(self, name) for name in ("own", "signs", "kind", "samples", "usable")}
        limits = {"most_bias": MOST_BIAS, "most_error": MOST_ERROR}
        return json.dumps({"nudgings": self.nudgings.tolist(), **facts, **limits, "layers": layers})

    def table(self) -> Table:
        """A row a crossbar and nudging."""
        phases = "two nudged phases" if len(self.signs) == 2 else "a free and a nudged phase"
        title = f"{phases}, {self.kind} nudges, batch of {self.samples}; errors relative to the gradient"
        columns = (
            "nudging",
            "crossbar",
            "response",
            "bias",
            "read noise",
            "levels",
            "nudge's noise",
            "float32",
            "samples",
        )
        table = Table(*columns, title=title)
        for n, strength in enumerate(self.nudgings):
            for first, layer in zip((True, *[False] * len(self.layers)), self.layers, strict=False):
                mark = " ←" if strength == self.own else ""
                figures = [f"{getattr(layer, name)[n]:.2g}" for name in ("bias", *SOURCES)]
                needed = f"{self.samples_needed(layer)[n]:.3g}" + ("" if layer.usable[n] else " ✗")
                response = f"{layer.response[n]:.3g} V"
                table.add_row(f"{strength:.3g}{mark}" if first else "", layer.label, response, *figures, needed)
        table.caption = "\n".join(self._sentences())
        return table

    def _sentences(self) -> list[str]:
        said = [
            f"{layer.label}: a read has a noise of {layer.noise:.3g} V rms and "
            + (f"steps of {layer.step:.3g} V; " if layer.step else "no steps; ")
            + f"usable {_stretch(self.band(layer.usable))}"
            for layer in self.layers
        ]
        limits = f"bias at most {MOST_BIAS:.0%}, error of a batch at most {MOST_ERROR:.0%} of the gradient"
        asked = f"samples: over how many to average until the error is {MOST_ERROR:.0%}; ✗: not usable"
        return [*said, f"all: usable {_stretch(self.usable)} ({limits})", f"← the spec's; {asked}"]


def _stretch(band: tuple[float, float] | None) -> str:
    return "nowhere" if band is None else f"from {band[0]:.3g} to {band[1]:.3g}"


@dataclass(frozen=True, eq=False)
class NudgedBatch:
    """A batch of samples at their free state, and what nudges do there.

    Attributes
    ----------
    network : CrossbarNetwork
        In float64, for responses of full relative precision.
    inputs : Tensor (n_samples, n_inputs)
        As DACs drive them. [V]
    nudge : Nudge
        Of which targets, cost and kind count.
    signs : tuple of int
        Of the nudges: one, which is compared with the free phase, or two.
    chip : Chip, optional
        Mismatch of the hardware; its converters do not act here.
    """

    network: CrossbarNetwork
    inputs: Tensor
    nudge: Nudge
    signs: tuple[int, ...]
    chip: Chip | None = None

    @cached_property
    def free(self) -> Equilibrium:
        """The free states."""
        return solve(self.network, self.inputs, solver=solver_of(self.network), chip=self.chip)

    @cached_property
    def unit(self) -> tuple[Tensor, ...]:
        """Response of the layers to a nudge of strength 1, linearised, each `(n_samples, n_units)`. [V]"""
        return self._linear(-self.nudge.cost.gradient(self.free.outputs, self.nudge.target))

    @cached_property
    def gradient(self) -> dict[str, Tensor]:
        """Of the mean cost by the conductances, without a bias, as a chip forms it."""
        return self._mean(self.unit, linear=True)

    @property
    def largest(self) -> float:
        """Nudging whose linear response would be as large as the outputs themselves, both as rms.

        Raises
        ------
        StimulusError
            If the outputs or their response vanish.
        """
        outputs, response = self.free.outputs, self.network.outputs_of(self.unit)
        largest = float(outputs.square().mean().sqrt() / response.square().mean().sqrt())
        if not 0 < largest < math.inf:
            raise StimulusError(f"a study of nudging needs outputs and costs that are not 0, found a ratio {largest}")
        return largest

    def responses(self, strength: float) -> list[tuple[Tensor, ...]]:
        """Of the layers, one for each sign. [V]

        Raises
        ------
        UnstableNudgeError
            If an elastic nudge is beyond the stable range.
        """
        found = []
        for sign in self.signs:
            nudge = self.nudge.scaled(sign * strength)
            require_stable_nudge(self.network, nudge, [self.free], self.chip)
            solver = solver_of(self.network)
            nudged = solve(self.network, self.inputs, nudge, solver=solver, start=self.free, chip=self.chip)
            require_stable_nudge(self.network, nudge, [nudged], self.chip)
            found.append(nudged.response(about=self.free))
        return found

    def difference(self, responses: list[tuple[Tensor, ...]]) -> tuple[Tensor, ...]:
        """Later less earlier of the two phases that are compared. [V]"""
        if len(responses) == 1:
            return responses[0]
        return tuple(later - earlier for earlier, later in zip(*responses, strict=True))

    def biases(self, strength: float, responses: list[tuple[Tensor, ...]], reads: Reads) -> dict[str, float]:
        """Norm of the gradient by finite nudges less `gradient`, relative to that, by parameter."""
        found = {name: torch.zeros_like(exact) for name, exact in self.gradient.items()}
        for sign, response in zip(self.signs, responses, strict=True):
            for name, value in self._read(response, reads).items():
                found[name] += value / (sign * strength * len(self.signs))
        return {name: float((found[name] - exact).norm() / exact.norm()) for name, exact in self.gradient.items()}

    def _read(self, response: tuple[Tensor, ...], reads: Reads) -> dict[str, Tensor]:
        """Mean contrast as far as both states are read."""
        layers = self.free.layers
        nudged = tuple(free + change for free, change in zip(layers, response, strict=True))
        seen, seen_nudged = reads.clipped(layers), reads.clipped(nudged)
        # Of what is not clipped the response itself, and no difference of two states.
        change = tuple(
            torch.where((before == free) & (after == moved), own, after - before)
            for before, free, after, moved, own in zip(seen, layers, seen_nudged, nudged, response, strict=True)
        )
        return self._mean(change, seen)

    def errors(self, strength: float, responses: list[tuple[Tensor, ...]], errors: ReadErrors) -> dict[str, float]:
        """Rms of the norm of what errors of the reads add to the gradient, relative to its own, by parameter."""
        middle = tuple(free + sum(moved) / 2 for free, *moved in zip(self.free.layers, *responses, strict=True))
        changes = self.difference(responses)
        found = gradient_variance(self.network, self.inputs, middle, changes, errors, self.chip)
        between = strength * len(self.signs)
        return {name: math.sqrt(found[name]) / between / float(g.norm()) for name, g in self.gradient.items()}

    @cached_property
    def _curvature_responses(self) -> list[tuple[Tensor, ...]]:
        """Responses to the changes −C″ e of a unit nudge's current that a unit error e of each output makes."""
        curvature = self.nudge.cost.hessian(self.free.outputs)
        return [self._linear(-column) for column in curvature.unbind(-1)]

    def nudge_errors(self, responses: list[tuple[Tensor, ...]], read_variance: float) -> dict[str, float]:
        """As `errors`, of the reads from which a frozen nudge takes its current; none of an elastic one.

        To first order an error n of the outputs adds the response to the current −β C″ n. It meets the voltages at the
        end of a single nudge, and of two opposite ones those in the middle.
        """
        total = dict.fromkeys(self.gradient, 0.0)
        if self.nudge.kind == "frozen":
            mean = [sum(moved) / len(moved) for moved in zip(*responses, strict=True)]
            layers = tuple(free + moved for free, moved in zip(self.free.layers, mean, strict=True))
            for response in self._curvature_responses:
                for n in range(len(self.inputs)):
                    for name, value in self._mean(response, layers, slice(n, n + 1), linear=True).items():
                        total[name] += 2 * read_variance * float(value.square().sum())
        norms = {name: float(exact.norm()) * len(self.inputs) for name, exact in self.gradient.items()}
        return {name: math.sqrt(power) / norms[name] for name, power in total.items()}

    def _linear(self, current: Tensor) -> tuple[Tensor, ...]:
        return linear_response(self.free, current, solver=solver_of(self.network))

    def _mean(
        self,
        response: tuple[Tensor, ...],
        layers: tuple[Tensor, ...] | None = None,
        which: slice = slice(None),
        linear: bool = False,
    ) -> dict[str, Tensor]:
        both = (self.free.layers if layers is None else layers, response)
        layers, change = (tuple(each[which] for each in states) for states in both)
        inputs = self.inputs[which].to(layers[0])
        contrast = self.network.contrast(inputs, layers, change, linear=linear, chip=self.chip)
        return {name: value / len(inputs) for name, value in contrast.items()}


def nudging_report(batch: NudgedBatch, reads: Reads, own: float) -> NudgingReport:
    """Bias and errors of every crossbar's gradient over the nudgings, the spec's `own` among them.

    Raises
    ------
    StimulusError
        If nothing responds: outputs or costs vanish.
    ConvergenceError
        If an equilibrium was not reached.
    """
    low, high = _DECADES
    grid = batch.largest * np.logspace(low, high, round((high - low) * _PER_DECADE) + 1)
    nudgings = np.unique([*grid, own])
    rows = [_at(batch, float(strength), reads) for strength in nudgings]
    layers = []
    for n, label in enumerate(layout.label for layout in batch.network.layouts):
        if label not in batch.gradient:
            continue
        columns = {name: np.array([row[name][label] for row in rows]) for name in rows[0]}
        layers.append(LayerBand(label, noise=reads.noise[n], step=reads.step[n], **columns))
    return NudgingReport(nudgings, own, batch.signs, batch.nudge.kind, len(batch.inputs), tuple(layers))


def _at(batch: NudgedBatch, strength: float, reads: Reads) -> dict[str, dict[str, float]]:
    """Figures at one nudging by name, and in these by parameter."""
    names = [layout.label for layout in batch.network.layouts]
    try:
        responses = batch.responses(strength)
        biases = batch.biases(strength, responses, reads)
    except UnstableNudgeError:
        responses = [tuple(sign * strength * unit for unit in batch.unit) for sign in batch.signs]
        biases = dict.fromkeys(batch.gradient, math.inf)
    changes = batch.difference(responses)
    return {
        "response": {name: float(d.square().mean().sqrt()) for name, d in zip(names, changes, strict=True)},
        "bias": biases,
        "read_noise": batch.errors(strength, responses, ReadErrors.of_noise(reads, changes)),
        "levels": batch.errors(strength, responses, ReadErrors.of_levels(reads, changes)),
        "nudge_noise": batch.nudge_errors(responses, reads.noise[-1] ** 2 + reads.step[-1] ** 2 / 12),
        "float32": batch.errors(strength, responses, ReadErrors.of_float32(batch.free.layers)),
    }
