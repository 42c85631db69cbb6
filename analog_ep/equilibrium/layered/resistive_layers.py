"""A layered network's Kirchhoff equations at one set of parameters, and a state of them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import pairwise

import torch
from torch import Tensor

from analog_ep.circuit import Chip
from analog_ep.devices import Clamp
from analog_ep.networks import CrossbarNetwork, Stage

_WIDE = 2**16
"""Conductances of a crossbar beyond which a batch's currents cost more than the crossbar's norms."""


@dataclass(frozen=True, eq=False)
class Ladder:
    """Layers that see only their neighbours: total·v + i(v) = current from the layer before and the layer after.

    Attributes
    ----------
    stages : tuple of Stage
        The crossbars.
    clamps : tuple of Clamp or None
        Diodes of each layer; None at the outputs.
    totals : tuple of Tensor (n_units,)
        All conductances at each node, the load of the amplifiers behind it included. [S]
    """

    stages: tuple[Stage, ...]
    clamps: tuple[Clamp | None, ...]
    totals: tuple[Tensor, ...]

    @classmethod
    def of(cls, network: CrossbarNetwork, like: Tensor, chip: Chip | None = None) -> Ladder:
        """The equations of `network` as its parameters are now, for voltages in the dtype of `like`."""
        return cls.from_stages(network.stages(chip), network.layer_clamps(like, chip))

    @classmethod
    def from_stages(cls, stages: tuple[Stage, ...], clamps: tuple[Clamp | None, ...]) -> Ladder:
        """The equations with crossbars that are already formed."""
        totals = [stage.total + behind.input_load for stage, behind in pairwise(stages)]
        return cls(stages, clamps, (*totals, stages[-1].total))

    def exchanged(self, ratios: Sequence[float] | None = None) -> Ladder:
        """The equations with gains and feedbacks exchanged, see `Stage.exchanged`; those of the diodes stay.

        Without ratios, which stands for 1, they are the transposed ones; with the nominal k/a of every stage behind the
        first those that responses by the energy's weights obey.
        """
        first, *others = self.stages
        ratios = [1.0] * len(others) if ratios is None else ratios
        pairs = zip(others, ratios, strict=True)
        return replace(self, stages=(first, *(stage.exchanged(ratio) for stage, ratio in pairs)))

    @property
    def last(self) -> int:
        """Index of the output layer."""
        return len(self.stages) - 1

    @property
    def wide(self) -> bool:
        """Whether sweeps had better end by a bound: whether a crossbar between layers is large."""
        return self.lateral is None and any(stage.n_products > _WIDE for stage in self.stages[1:])

    @cached_property
    def lateral(self) -> tuple[Tensor, ...] | None:
        """Matrix M of each layer `(n_units, n_units)`, by which currents v M flow between its own nodes; None for
        ideal lines, where there are none. [S]
        """
        found: list[Tensor] = []
        for stage, behind in zip(self.stages, (*self.stages[1:], None), strict=True):
            parts = [part for part in (stage.mutual, behind and behind.among_rows()) if part is not None]
            if not parts:
                return None
            found.append(parts[0] if len(parts) == 1 else parts[0] + parts[1])
        return tuple(found)

    @property
    def n_returned(self) -> int:
        """Layers, from the first on, into which currents flow that a sweep from the inputs does not know yet."""
        return self.last if self.lateral is None else self.last + 1

    def returned(self, k: int, layers: Sequence[Tensor]) -> Tensor:
        """Current into layer k from its amplifiers and from its own nodes. [A]"""
        own = None if self.lateral is None else layers[k] @ self.lateral[k]
        if k == self.last:
            return torch.zeros_like(layers[k]) if own is None else own
        return self.backward(k, layers) if own is None else self.backward(k, layers).add_(own)

    def forwarded_change(self, k: int, change: Sequence[Tensor]) -> Tensor:
        """Change of the current into layer k from the layer before and from its own nodes. [A]"""
        if self.lateral is None:
            return self.forward_change(k, change)
        own = change[k] @ self.lateral[k]
        return own if k == 0 else self.forward_change(k, change).add_(own)

    def nodal_matrix(self, k: int) -> Tensor:
        """Conductances at and between layer k's nodes, its neighbours held, `(n_units, n_units)`. [S]"""
        matrix = torch.diag(self.totals[k])
        return matrix if self.lateral is None else matrix - self.lateral[k].mT

    @cached_property
    def resistances(self) -> tuple[Tensor, ...]:
        """1/total of each node. [Ω]"""
        return tuple(total.reciprocal() for total in self.totals)

    def forward(self, k: int, layers: Sequence[Tensor]) -> Tensor:
        """Current into layer k > 0 from the layer before. [A]"""
        return self.stages[k].forward(layers[k - 1])

    def forward_change(self, k: int, change: Sequence[Tensor]) -> Tensor:
        """Change of `forward`. [A]"""
        return self.stages[k].forward_change(change[k - 1])

    def backward(self, k: int, layers: Sequence[Tensor]) -> Tensor:
        """Current that the amplifiers behind layer k return to it. [A]"""
        return self.stages[k + 1].backward(layers[k + 1])

    def solve(self, k: int, drive: Tensor) -> Tensor:
        """Voltages of layer k under the current `drive`. [V]"""
        clamp = self.clamps[k]
        if clamp is None:
            return drive * self.resistances[k]
        return clamp.solve_node(self.totals[k], drive, self.resistances[k])

    def solve_change(self, k: int, state: LadderState, drive: Tensor) -> Tensor:
        """Change of layer k's voltages about `state` under the change `drive` of its current. [V]"""
        clamp = self.clamps[k]
        if clamp is None:
            return drive * self.resistances[k]
        return clamp.solve_change(self.totals[k], state.layers[k], state.excess(k), drive)


@dataclass(frozen=True, eq=False)
class LadderState:
    """Layer voltages, with the currents they were solved under.

    Attributes
    ----------
    ladder : Ladder
        The equations.
    layers : tuple of Tensor (*batch, n_units)
        Voltages; of a layer with ideal diodes exactly `ladder.solve` of its drive. [V]
    drives : tuple of Tensor (*batch, n_units)
        Current into each node at 0 V, from both neighbours. [A]
    stamp : object
        Of the conductances and the chip that the state belongs to; see `stamp_of`.
    """

    ladder: Ladder
    layers: tuple[Tensor, ...]
    drives: tuple[Tensor, ...]
    stamp: object = None

    @classmethod
    def at(cls, ladder: Ladder, inputs: Tensor, layers: tuple[Tensor, ...]) -> LadderState:
        """A state that some other solver found.

        Its nodes are exact to that solver's tolerance only, so at a node that no ideal diode clamps the current is the
        one that its voltage asks for.
        """
        drives = [ladder.stages[0].forward(inputs), *(ladder.forward(k, layers) for k in range(1, len(layers)))]
        for k in range(ladder.n_returned):
            drives[k] = drives[k] + ladder.returned(k, layers)
        found = list(layers)
        for k, (clamp, layer) in enumerate(zip(ladder.clamps, layers, strict=True)):
            if clamp is not None:
                found[k], drives[k] = clamp.consistent(layer, drives[k], ladder.resistances[k])
        return cls(ladder, tuple(found), tuple(drives))

    def excess(self, k: int) -> Tensor:
        """How far each node would lie beyond an ideal diode's clamp without it; 0 where it is free. [V]"""
        ladder, layer = self.ladder, self.layers[k]
        clamp = ladder.clamps[k]
        return torch.zeros_like(layer) if clamp is None else clamp.excess(layer, self.drives[k], ladder.resistances[k])

    def exchanged(self, ratios: Sequence[float] | None = None) -> LadderState:
        """The state about which equations with exchanged gains are linear: see `Ladder.exchanged`."""
        return replace(self, ladder=self.ladder.exchanged(ratios))

    def response_resistances(self) -> tuple[Tensor, ...]:
        """Voltage per current of each node alone, linearised here; 0 at an ideal clamp that holds it. [Ω]

        A node that lies at its clamp without being held, as all do at zero input and bias, counts as free.
        """
        return tuple(self._response_resistance(k) for k in range(len(self.layers)))

    def _response_resistance(self, k: int) -> Tensor:
        ladder = self.ladder
        clamp, resistance = ladder.clamps[k], ladder.resistances[k]
        if clamp is None:
            return resistance
        return clamp.response_resistance(self.layers[k], ladder.totals[k], self.drives[k], resistance)


def stamp_of(parameters: Iterable[Tensor], chip: Chip | None) -> object:
    """What changes when an optimiser steps, parameters are replaced, or the chip is another."""
    return tuple((parameter._version, parameter.data_ptr()) for parameter in parameters), id(chip)
