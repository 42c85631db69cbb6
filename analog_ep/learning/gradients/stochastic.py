"""Equilibrium propagation on stationary distributions: the gradient of the expected cost at a temperature."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Literal

import torch
from scipy.special import chdtri, fdtrc
from torch import Tensor

from analog_ep.dynamics.landscape import Landscape, landscape_of
from analog_ep.dynamics.langevin import Langevin
from analog_ep.equilibrium.equilibrium import Solver, solve
from analog_ep.equilibrium.solver_of import solver_of
from analog_ep.errors import CheckpointError, StimulusError
from analog_ep.learning.gradients.method import GradientMethod, positive_nudging
from analog_ep.networks import Network
from analog_ep.stimulus import Cost

Estimator = Literal["contrast", "covariance"]

_BLOCKS = 128
_RANK = 1e-9
"""Eigenvalues of a correlation matrix below this are dependences between the gradients of different parameters."""


@dataclass(frozen=True, eq=False)
class GradientEstimate:
    """A gradient with its statistical error, from independent blocks of chains.

    Attributes
    ----------
    cost : Tensor, a scalar
        Mean of the cost over the stationary distributions and the batch.
    blocks : dict of str to Tensor (n_blocks, *shape)
        Each block's own estimate of the gradient, by parameter.
    """

    cost: Tensor
    blocks: dict[str, Tensor]

    @property
    def gradients(self) -> dict[str, Tensor]:
        """The mean over the blocks."""
        return {name: block.mean(0) for name, block in self.blocks.items()}

    @property
    def standard_errors(self) -> dict[str, Tensor]:
        """Standard error of each entry of the mean."""
        return {name: block.std(0) / len(block) ** 0.5 for name, block in self.blocks.items()}

    @property
    def relative_error(self) -> float:
        """Norm of the standard errors over the norm of the gradient."""
        errors, values = (torch.cat([t.flatten() for t in d.values()]) for d in (self.standard_errors, self.gradients))
        return float(errors.norm() / values.norm())

    @cached_property
    def _flat(self) -> Tensor:
        return torch.cat([block.flatten(1) for block in self.blocks.values()], 1).double()

    def chi_square(self, reference: dict[str, Tensor]) -> tuple[float, int]:
        """χ² of the distance to a reference gradient, with all correlations, and its degrees of freedom.

        Gradients that depend on each other linearly, such as those of +u and −u rows, count once. Hotelling's T², which
        allows for the covariance being an estimate from a finite number of blocks, is turned into the χ² of the same
        probability.
        """
        blocks = self._flat
        distance = blocks.mean(0) - torch.cat([reference[name].flatten() for name in self.blocks]).to(blocks)
        deviation = blocks.std(0)
        used = deviation > 0
        scaled = ((blocks - blocks.mean(0)) / deviation)[:, used]
        values, vectors = torch.linalg.eigh(scaled.mT @ scaled / (len(blocks) - 1))
        kept = values > _RANK * values[-1]
        n, rank = len(blocks), int(kept.sum())
        along = (distance / deviation)[used] @ vectors[:, kept]
        hotelling = n * float((along.square() / values[kept]).sum())
        tail = fdtrc(rank, n - rank, hotelling * (n - rank) / (rank * (n - 1)))
        return float(chdtri(rank, tail)), rank


class StochasticEquilibriumPropagation(GradientMethod):
    r"""Equilibrium propagation on the stationary distributions of Langevin dynamics (Scellier & Bengio 2017).

    With p_β ∝ exp(−(E + β C)/T) the mean cost J = ⟨C⟩ of the free distribution has the gradient [1]_

    .. math:: \frac{dJ}{dθ} = \lim_{β→0} \frac{1}{β}
              \left( \left\langle \frac{∂E}{∂θ} \right\rangle_β - \left\langle \frac{∂E}{∂θ} \right\rangle_0 \right)
              = -\frac{1}{T} \mathrm{Cov}_0\!\left( C, \frac{∂E}{∂θ} \right) .

    The estimator "contrast" is the first form, of two nudged phases ±β with a bias O(β²); its chains share their random
    numbers. "covariance" is the second one, of the free phase alone. For resistive networks E counts in units of the
    output stage's weight, T is `injected_temperature`, and the nudge is elastic: a frozen one follows no fluctuation.

    Parameters
    ----------
    network : Network
        What to train.
    langevin : Langevin
        Temperature, chains and steps; its seed is advanced by each estimate.
    nudging : float
        β > 0 of the contrast.
    cost : Cost, optional
        C; by default `SquaredError`.
    estimator : "contrast" or "covariance"
        See above.
    solver : Solver, optional
        Finds the equilibrium that the chains start from; by default that of the kind of network, `solver_of`.

    Raises
    ------
    StimulusError
        If `nudging` is not positive, or there are fewer than 2 chains.

    References
    ----------
    .. [1] B. Scellier and Y. Bengio, "Equilibrium Propagation," Front. Comput. Neurosci. 11:24, 2017,
       arXiv:1602.05179, appendix on the stochastic framework.
    """

    def __init__(
        self,
        network: Network,
        langevin: Langevin,
        nudging: float,
        cost: Cost | None = None,
        estimator: Estimator = "contrast",
        solver: Solver | None = None,
    ):
        super().__init__(network, cost)
        if estimator not in ("contrast", "covariance"):
            raise StimulusError(f"estimator must be contrast or covariance, found {estimator!r}")
        if langevin.chains < 2:
            raise StimulusError(f"a statistical error needs at least 2 chains, found {langevin.chains}")
        self.langevin = langevin
        self.nudging = positive_nudging(network, nudging, "; both signs are used")
        self.estimator: Estimator = estimator
        self.solver = solver_of(network) if solver is None else solver
        self._estimates = 0

    def _gradients(self, inputs: Tensor, targets: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        estimate = self.estimate(inputs, targets)
        parameters = {name: self.network.get_parameter(name) for name in estimate.blocks}
        return estimate.cost, {name: value.to(parameters[name]) for name, value in estimate.gradients.items()}

    def state(self) -> dict[str, Tensor]:
        return {"estimates": torch.tensor(self._estimates)}

    def load_state(self, state: dict[str, Tensor]) -> None:
        found = state.get("estimates")
        if found is None:
            raise CheckpointError("the checkpoint must hold the number of estimates so far, found none")
        if found.dtype != torch.int64 or found.ndim or found < 0:
            raise CheckpointError(
                f"the checkpoint must hold the number of estimates so far as one integer, found {found.tolist()!r:.40}"
            )
        self._estimates = int(found)

    def estimate(self, inputs: Tensor, targets: Tensor) -> GradientEstimate:
        """The gradient by every θ with its statistical error; arguments are those of `gradients`."""
        inputs, targets = self.network.stimulus(inputs, targets)
        free = solve(self.network, inputs, solver=self.solver)
        start = torch.cat(free.layers, -1)
        start = start.reshape(-1, start.shape[-1])
        signs = (-1.0, 1.0) if self.estimator == "contrast" else (0.0,)
        nudging = self.nudging * torch.tensor(signs, dtype=start.dtype)
        flat_inputs, flat_targets = (tensor.reshape(-1, tensor.shape[-1]).to(start) for tensor in (inputs, targets))
        landscape = landscape_of(self.network, flat_inputs, flat_targets, self.cost, nudging)
        sums = _ContrastSums(landscape) if len(signs) == 2 else _CovarianceSums(landscape, start, self.langevin)
        for state in self._next_langevin().states(landscape, start):
            sums.add(state)
        blocks = {name: self.network.parameter_scale * value for name, value in sums.blocks().items()}
        return GradientEstimate(sums.cost(), blocks)

    def _next_langevin(self) -> Langevin:
        """The dynamics with a seed of its own for every estimate."""
        self._estimates += 1
        return replace(self.langevin, seed=self.langevin.seed + self._estimates - 1)


class _ContrastSums:
    """(⟨∂E/∂θ⟩_β − ⟨∂E/∂θ⟩_−β)/(2β) of every chain, summed over the states that come in."""

    def __init__(self, landscape: Landscape):
        self.landscape = landscape
        self._nudging = float(landscape.nudging.max())
        self._gradients: dict[str, Tensor] = {}
        self._cost, self._states = torch.zeros(()), 0

    def add(self, state: Tensor) -> None:
        """Take in states `(2, n_samples, n_chains, n_units)` of −β and β."""
        negative, positive = state
        for name, value in _by_chain(self.landscape, negative, positive - negative).items():
            value = value.mean(0) / (2 * self._nudging)
            self._gradients[name] = self._gradients.get(name, 0) + value
        self._cost = self._cost + self.landscape.costs(state).mean()
        self._states += 1

    def cost(self) -> Tensor:
        """Mean cost of both phases, which is that of the free one but for O(β²)."""
        return self._cost / self._states

    def blocks(self) -> dict[str, Tensor]:
        """The gradient by the physical parameters, `(n_blocks, *shape)`."""
        return {name: _in_blocks(value / self._states) for name, value in self._gradients.items()}


class _CovarianceSums:
    """Sums over the states of C, ∂E/∂θ and their product, by chain and sample."""

    def __init__(self, landscape: Landscape, start: Tensor, langevin: Langevin):
        self.landscape, self._start = landscape, start[:, None]
        self._factor = -landscape.output_weight / langevin.temperature
        self._costs, self._states = torch.zeros(()), 0
        self._slopes: dict[str, Tensor] = {}
        self._products: dict[str, Tensor] = {}

    def add(self, state: Tensor) -> None:
        """Take in states `(1, n_samples, n_chains, n_units)` of the free phase."""
        start = self._start.expand_as(state[0])
        costs = self.landscape.costs(state[0])
        for name, value in _by_chain(self.landscape, start, state[0] - start).items():
            weighted = costs.reshape(*costs.shape, *(1,) * (value.ndim - costs.ndim)) * value
            self._slopes[name] = self._slopes.get(name, 0) + value
            self._products[name] = self._products.get(name, 0) + weighted
        self._costs = self._costs + costs
        self._states += 1

    def cost(self) -> Tensor:
        """Mean cost."""
        return self._costs.mean() / self._states

    def blocks(self) -> dict[str, Tensor]:
        """The gradient by the physical parameters, `(n_blocks, *shape)`."""
        result = {}
        for name, slopes in self._slopes.items():
            # Products of deviations from the means over all chains: a block's own means would take out a share.
            costs, slopes, product = (t / self._states for t in (self._costs, slopes, self._products[name]))
            costs = costs.reshape(*costs.shape, *(1,) * (slopes.ndim - costs.ndim))
            mean_cost, mean_slope = costs.mean(1, keepdim=True), slopes.mean(1, keepdim=True)
            covariance = product - mean_cost * slopes - costs * mean_slope + mean_cost * mean_slope
            result[name] = _in_blocks(self._factor * covariance.mean(0))
        return result


def _by_chain(landscape: Landscape, state: Tensor, change: Tensor) -> dict[str, Tensor]:
    """Contrast of each sample and chain, `(n_samples, n_chains, *shape)`, for states and changes of them."""
    network = landscape.network

    def contrast(inputs: Tensor, layers: tuple[Tensor, ...], response: tuple[Tensor, ...]) -> dict[str, Tensor]:
        return network.contrast(inputs, layers, response)

    over_chains = torch.vmap(contrast, in_dims=(None, 0, 0))
    return torch.vmap(over_chains)(landscape.inputs[:, 0], landscape.layers(state), landscape.layers(change))


def _in_blocks(by_chain: Tensor) -> Tensor:
    """Means over blocks of chains, `(n_blocks, *shape)`."""
    return torch.stack([part.mean(0) for part in by_chain.tensor_split(min(_BLOCKS, len(by_chain)))])
