"""Langevin dynamics: states that wander on an energy, and settle into its Gibbs distribution."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from analog_ep.dynamics.landscape import Landscape
from analog_ep.errors import StimulusError

_TARGET = 0.85
"""Share of accepted steps that the burn-in steers to: most movement for the effort lies between 0.6 and 0.9."""


@dataclass(frozen=True)
class Langevin:
    r"""Overdamped Langevin dynamics at a temperature, many chains at once.

    .. math:: du = -m\, \frac{∂F}{∂u}\, dt + \sqrt{2 m T}\, dW

    has the stationary distribution exp(−F/T), whatever the mobility m. Of a network of circuit nodes with capacitance
    c, m is 1/(w c), w the energy's weight of the stage, and white current noise of two-sided density S = 2 c T/w at
    each node gives the temperature T = w S/(2c) [W]: not that of the room (see `injected_temperature`).

    Each step proposes Euler–Maruyama's point and accepts it by Metropolis' rule (MALA [1]_), so that the
    stationary distribution is exact at any step. Without the rule (`adjusted=False`) it is off by O(step). All phases
    share their random numbers: the chains of two nudges stay close together, and differences between them are far less
    noisy than either.

    Parameters
    ----------
    temperature : float
        T; [W] for circuits, dimensionless for Hopfield networks.
    chains : int
        Chains a sample.
    burn_in : int
        Steps before states are given out.
    steps : int
        Steps after that.
    every : int
        Steps from one state that is given out to the next.
    step : float, optional
        Length of a step, dt/c of circuits [Ω]; by default a burn-in finds one with 85 % of the steps accepted.
    adjusted : bool
        Whether Metropolis' rule is applied.
    seed : int
        Seed of the random numbers.

    Raises
    ------
    StimulusError
        If a number is not positive, or there is no step although nothing is adjusted.

    References
    ----------
    .. [1] G. O. Roberts and R. L. Tweedie, "Exponential convergence of Langevin distributions and their discrete
       approximations," Bernoulli 2(4):341–363, 1996.
    """

    temperature: float
    chains: int = 2048
    burn_in: int = 500
    steps: int = 500
    every: int = 5
    step: float | None = None
    adjusted: bool = True
    seed: int = 0

    def __post_init__(self):
        numbers = [self.temperature, self.chains, self.steps, self.every, 1.0 if self.step is None else self.step]
        if not all(0 < number < math.inf for number in numbers) or self.burn_in < 0:
            raise StimulusError(
                f"temperature, chains, steps, every and step of Langevin dynamics must be positive, found {self}"
            )
        if self.every > self.steps:
            raise StimulusError(f"every must be at most steps, {self.steps}, found {self.every}: no state is given out")
        if self.step is None and not self.adjusted:
            raise StimulusError("steps that nothing adjusts need their length, found none; give a step")

    def states(self, landscape: Landscape, start: Tensor) -> Iterator[Tensor]:
        """States of all chains, `(n_phases, n_samples, n_chains, n_units)`, every `every` steps after the burn-in.

        Parameters
        ----------
        landscape : Landscape
            What to walk on.
        start : Tensor (n_samples, n_units)
            Where all chains begin.
        """
        walk = _Walk(self, landscape, start)
        step = self.step or 0.5 / landscape.stiffness
        for number in range(self.burn_in):
            accepted = walk.advance(step)
            if self.step is None:
                # Robbins and Monro: the step settles while its changes fade.
                step *= math.exp((accepted - _TARGET) * 4 / math.sqrt(number + 1))
        for number in range(1, self.steps + 1):
            walk.advance(step)
            if number % self.every == 0:
                yield walk.state


class _Walk:
    """All chains of one run, with what the next step needs of the last one."""

    def __init__(self, langevin: Langevin, landscape: Landscape, start: Tensor):
        self.landscape, self.temperature, self.adjusted = landscape, langevin.temperature, langevin.adjusted
        n_samples, n_units = start.shape
        self.shape = (1, n_samples, langevin.chains, n_units)
        self.generator = torch.Generator(start.device).manual_seed(langevin.seed)
        self.state = start[None, :, None].expand(len(landscape.nudging), *self.shape[1:]).clone()
        self.force = landscape.force(self.state)
        self.energy = landscape.energy(self.state) if self.adjusted else None

    def advance(self, step: float) -> float:
        """One step of every chain; the share that was accepted."""
        mobility, temperature = step * self.landscape.mobility, self.temperature
        noise = self._random(torch.randn, self.shape)
        move = mobility * self.force + (2 * temperature * mobility).sqrt() * noise
        state = self.state + move
        force = self.landscape.force(state)
        if self.energy is None:
            self.state, self.force = state, force
            return 1.0
        energy = self.landscape.energy(state)
        # log q(u | u') − log q(u' | u), whose second part is the noise itself.
        back = ((move + mobility * force) / (4 * temperature * mobility).sqrt()).square().sum(-1)
        gain = (self.energy - energy) / temperature - back + 0.5 * noise.square().sum(-1)
        accept = self._random(torch.rand, self.shape[:-1]).log() < gain
        self.energy = torch.where(accept, energy, self.energy)
        self.state = torch.where(accept[..., None], state, self.state)
        self.force = torch.where(accept[..., None], force, self.force)
        return float(accept.to(state).mean())

    def _random(self, draw, shape: tuple[int, ...]) -> Tensor:
        return draw(shape, generator=self.generator, dtype=self.state.dtype, device=self.state.device)


def injected_temperature(density: float, capacitance: float) -> float:
    """T = S/(2c) [W] of equal white current noise at nodes of equal capacitance.

    Parameters
    ----------
    density : float
        S, two-sided: the noise has the autocorrelation S δ(t). Half of the one-sided density that data sheets give.
        [A²/Hz]
    capacitance : float
        c of every node. [F]
    """
    if not (0 < density < math.inf and 0 < capacitance < math.inf):
        raise StimulusError(f"noise density and capacitance must be positive, found {density} and {capacitance}")
    return density / (2 * capacitance)
