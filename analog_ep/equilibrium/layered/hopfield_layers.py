"""A Hopfield network's layer equations at one set of parameters, and a state of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from analog_ep.networks import Activation, UnitNetwork

_MAX_UNIT_STEPS = 200


@dataclass(frozen=True, eq=False)
class HopfieldLayers:
    """Layers that see only their neighbours: each unit obeys u = ρ'(u) p, p its drive, or ends at a bound.

    Attributes
    ----------
    weights : tuple of Tensor (n_before, n_after)
        W_1 … W_L.
    biases : tuple of Tensor (n_after,)
        b_1 … b_L.
    activation : Activation
        ρ.
    """

    weights: tuple[Tensor, ...]
    biases: tuple[Tensor, ...]
    activation: Activation

    @classmethod
    def of(cls, network: UnitNetwork) -> HopfieldLayers:
        """The equations of `network` as its parameters are now."""
        weights, biases = (tuple(p.detach() for p in group) for group in (network.weights, network.biases))
        return cls(weights, biases, network.activation)

    @property
    def last(self) -> int:
        """Index of the output layer."""
        return len(self.weights) - 1

    def forward(self, k: int, before: Tensor) -> Tensor:
        """What layer k gets from the rates of the layer before, and its bias."""
        return torch.addmm(self.biases[k], before, self.weights[k])

    def forward_change(self, k: int, before: Tensor) -> Tensor:
        """Change of `forward` when the rates before change by `before`."""
        return before @ self.weights[k]

    def backward(self, k: int, after: Tensor) -> Tensor:
        """What layer k gets from the rates of the layer after, or its change with these."""
        return after @ self.weights[k + 1].mT

    def rates(self, states: Tensor) -> Tensor:
        """ρ(u) of settled states, `(n_samples, n_units)`."""
        return states if self.activation.bounds is not None else self.activation.value(states)

    def rate_changes(self, states: Tensor, change: Tensor) -> Tensor:
        """ρ(u + d) − ρ(u) of settled states; bounded ones stay within their bounds, where ρ(u) = u."""
        return change if self.activation.bounds is not None else self.activation.change(states, change)

    def settle(self, drive: Tensor, start: Tensor) -> Tensor:
        """States under a drive; where a unit has several, one downhill from `start`."""
        rho = self.activation
        if rho.bounds is not None:
            return rho.clip(drive)
        return start + _unit_change(rho, start, drive, rho.slope(start) * drive - rho.leak(start), 1.0)


@dataclass(frozen=True, eq=False)
class HopfieldState:
    """Layer states, with the drives they were settled under.

    Attributes
    ----------
    equations : HopfieldLayers
        The equations.
    layers : tuple of Tensor (n_samples, n_units)
        u_1 … u_L.
    drives : tuple of Tensor (n_samples, n_units)
        p_1 … p_L.
    stamp : object
        Of the parameters that the state belongs to; see `stamp_of`.
    """

    equations: HopfieldLayers
    layers: tuple[Tensor, ...]
    drives: tuple[Tensor, ...]
    stamp: object = None

    @classmethod
    def at(cls, equations: HopfieldLayers, inputs: Tensor, layers: Sequence[Tensor]) -> HopfieldState:
        """A state that some other solver found."""
        rates = [inputs, *(equations.activation.value(layer) for layer in layers)]
        drives = [equations.forward(k, rates[k]) for k in range(len(layers))]
        for k in range(equations.last):
            drives[k] = drives[k] + equations.backward(k, rates[k + 2])
        return cls(equations, tuple(layers), tuple(drives))

    def excess(self, k: int) -> Tensor:
        """How far the drive of each unit of layer k pushes it beyond the bound it stands at; 0 where it is free."""
        bounds, layer, drive = self.equations.activation.bounds, self.layers[k], self.drives[k]
        if bounds is None:
            return torch.zeros_like(layer)
        # A bounded state that is not quite settled counts as settled, so that the response is the nudge's alone.
        beyond = drive - layer
        low, high = torch.where(layer <= bounds[0], beyond.clamp(max=0), 0), torch.where(layer >= bounds[1], beyond, 0)
        return low + high.clamp(min=0)

    def settle_change(self, k: int, excess: Tensor, change: Tensor, force: Tensor | None, load: float) -> Tensor:
        """Change d of layer k when its drive changes by `change` and the force `force` − (load − 1) d comes on it."""
        rho, layer = self.equations.activation, self.layers[k]
        if rho.bounds is not None:
            pull = excess + change if force is None else excess + change + force
            return self.clip_change(k, pull if load == 1 else pull / load)
        pull = rho.slope(layer) * change
        pull = pull if force is None else pull + force
        return _unit_change(rho, layer, self.drives[k] + change, pull, load)

    def clip_change(self, k: int, change: Tensor) -> Tensor:
        """The nearest change of layer k that keeps its states within their bounds."""
        bounds, layer = self.equations.activation.bounds, self.layers[k]
        if bounds is None:
            return change
        return torch.minimum(torch.maximum(change, bounds[0] - layer), bounds[1] - layer)

    def compliances(self) -> tuple[Tensor, ...]:
        """Change of each unit by the force on it alone, linearised here; 0 at a bound."""
        rho = self.equations.activation
        if rho.bounds is not None:
            low, high = rho.bounds
            return tuple(((layer > low) & (layer < high)).to(layer.dtype) for layer in self.layers)
        pairs = zip(self.layers, self.drives, strict=True)
        if rho.clamp is not None:
            return tuple(1 / (1 + rho.clamp.conductance(layer)) for layer in self.layers)
        return tuple(1 / (1 - rho.curvature(layer) * drive) for layer, drive in pairs)


def _unit_change(rho: Activation, state: Tensor, drive: Tensor, pull: Tensor, load: float) -> Tensor:
    """Solve load·d − [ρ'(u + d) − ρ'(u)] p = pull for each unit's d, going downhill from d = 0.

    The left side is the slope, less `pull`, of the unit's own energy, whose curvature is at most load + |p| max|ρ''|. A
    step against the slope by that bound cannot jump over a minimum; Newton's step is taken where it halves the slope.
    With a clamp, ρ is linear, and the current of the clamp changes in place of ρ'.
    """
    if rho.clamp is not None:
        return rho.clamp.solve_change(torch.full_like(state[..., 0, :], load), state, torch.zeros_like(state), pull)
    steepest = load + rho.curvature_bound * drive.abs()
    change = torch.zeros_like(state)
    wrong = -pull
    tolerance = 4 * torch.finfo(state.dtype).eps
    for _ in range(_MAX_UNIT_STEPS):
        curvature = load - rho.curvature(state + change) * drive
        newton = change - wrong / curvature
        found = load * newton - rho.slope_change(state, newton) * drive - pull
        good = (curvature > 0) & (found.abs() <= 0.5 * wrong.abs())
        good &= load - rho.curvature(state + newton) * drive > 0
        careful = change - wrong / steepest
        following = torch.where(good, newton, careful)
        if bool(((following - change).abs() <= tolerance * following.abs()).all()):
            return following
        again = load * careful - rho.slope_change(state, careful) * drive - pull
        change, wrong = following, torch.where(good, found, again)
    return change
