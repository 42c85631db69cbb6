"""Stationary distributions of small networks by quadrature on a grid: what Langevin dynamics is judged by."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Self

import torch
from torch import Tensor

from analog_ep.errors import ConvergenceError, StimulusError
from analog_ep.networks import Network
from analog_ep.stimulus import Cost

_MOST_POINTS = 2**24
_WIDTH = 8.5
_FITS = 8
_EDGE = 1e-9
_PROBE = 1e-2


@dataclass(frozen=True, eq=False)
class GibbsGrid:
    """exp(−E/T)/Z of a network's free phase at one sample, on the points of a grid.

    Points are equidistant and weigh the same: for a smooth function that vanishes at the ends, the error of such a sum
    falls faster than any power of the spacing. Use `GibbsGrid.fitted` to have the grid placed.

    Parameters
    ----------
    network : Network
        With few units; everything is in float64.
    inputs : Tensor (n_inputs,)
        Inputs of the sample.
    temperature : float
        T; [W] for circuits.
    centre, reach : tuple of Tensor (n_units,)
        By layer: the grid runs over centre ± reach in each unit.
    points : int
        Points along each unit.

    Raises
    ------
    StimulusError
        If there are more than 2^24 points.
    """

    network: Network
    inputs: Tensor
    temperature: float
    centre: tuple[Tensor, ...]
    reach: tuple[Tensor, ...]
    points: int = 41

    def __post_init__(self):
        n_units = sum(len(layer) for layer in self.centre)
        if self.points**n_units > _MOST_POINTS:
            raise StimulusError(
                f"a grid holds at most {_MOST_POINTS} points, found {self.points}^{n_units}; take fewer units or points"
            )

    @classmethod
    def fitted(
        cls, network: Network, inputs: Tensor, temperature: float, layers: tuple[Tensor, ...], points: int = 41
    ) -> Self:
        """A grid over 8.5 standard deviations about the mean, found from a first guess, the equilibrium `layers`.

        Raises
        ------
        ConvergenceError
            If more than 1e-9 of the probability stands at the grid's faces.
        """
        reach = tuple(_WIDTH * spread for spread in _guess(network, inputs, temperature, layers))
        grid = cls(network, inputs, temperature, layers, reach, points)
        for _ in range(_FITS):
            states = grid.states()
            probability = grid.probabilities(states)
            mean = probability @ states
            spread = (probability @ (states - mean).square()).sqrt()
            # Where the grid was too small the spread is too: it may grow by a factor a round.
            sizes = [len(layer) for layer in layers]
            grid = replace(grid, centre=mean.split(sizes), reach=(_WIDTH * spread).split(sizes))
        for _ in range(_FITS):
            # A distribution of several wells has less outside its standard deviations than a Gaussian, or more.
            if grid.edge() <= _EDGE:
                return grid
            grid = replace(grid, reach=tuple(1.2 * reach for reach in grid.reach))
        if grid.edge() > _EDGE:
            raise ConvergenceError(f"a grid must hold the distribution, found {grid.edge():.1e} of it at its faces")
        return grid

    def states(self) -> Tensor:
        """All points, `(n_points, n_units)`."""
        line = torch.linspace(-1, 1, self.points, dtype=torch.float64)
        axes = [c + r * line for c, r in zip(torch.cat(self.centre), torch.cat(self.reach), strict=True)]
        return torch.cartesian_prod(*axes).reshape(-1, len(axes))

    def probabilities(self, states: Tensor | None = None) -> Tensor:
        """Probability of every point, `(n_points,)`."""
        layers = self._layers(self.states() if states is None else states)
        with torch.no_grad():
            energy = self.network.energy(self.inputs.expand(len(layers[0]), -1), layers)
        return torch.softmax(-energy / self.temperature, 0)

    def edge(self) -> float:
        """Probability on the faces of the grid."""
        probability = self.probabilities().reshape([self.points] * sum(len(layer) for layer in self.centre))
        return float(1 - probability[(slice(1, -1),) * probability.ndim].sum())

    def mean_cost(self, cost: Cost, target: Tensor) -> float:
        """⟨C⟩ for a target `(n_outputs,)`."""
        states = self.states()
        outputs = self.network.outputs_of(self._layers(states))
        return float(self.probabilities(states) @ cost.value(outputs, target.to(outputs).expand_as(outputs)))

    def gradient(self, cost: Cost, target: Tensor, step: float = 1e-4) -> dict[str, Tensor]:
        """d⟨C⟩/dθ by every parameter: central differences, with this step in θ, of the quadrature itself."""
        result = {}
        for name, parameter in self.network.named_parameters():
            flat, slopes = parameter.data.view(-1), []
            for i in range(flat.numel()):
                kept, costs = float(flat[i]), []
                for sign in (1, -1):
                    flat[i] = kept + sign * step
                    costs.append(self.mean_cost(cost, target))
                flat[i] = kept
                slopes.append((costs[0] - costs[1]) / (2 * step))
            result[name] = torch.tensor(slopes, dtype=torch.float64).reshape(parameter.shape)
        return result

    def _layers(self, states: Tensor) -> tuple[Tensor, ...]:
        return states.split([len(layer) for layer in self.centre], -1)


def _guess(network: Network, inputs: Tensor, temperature: float, layers: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    """√(T/k) of every unit, k the second difference of the energy over a small step, by layer."""
    state, sizes = torch.cat(layers), [len(layer) for layer in layers]
    steps = _PROBE * torch.eye(len(state), dtype=torch.float64)
    states = torch.stack([state + steps, state - steps, state.expand_as(steps)])
    with torch.no_grad():
        above, below, here = network.energy(inputs.expand(3, len(state), -1), states.split(sizes, -1))
    return (temperature * _PROBE**2 / (above + below - 2 * here).clamp(min=1e-300)).sqrt().split(sizes)
