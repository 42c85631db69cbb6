"""The leaky integrators of a Hopfield network, stepped in time as in the paper."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from analog_ep.circuit import Chip, Circuit
from analog_ep.equilibrium.equilibrium import Equilibrium, Solver
from analog_ep.equilibrium.layered.hopfield_relaxation import hopfield_of
from analog_ep.errors import StimulusError
from analog_ep.networks import Network, UnitNetwork
from analog_ep.stimulus import Nudge


@dataclass(frozen=True)
class EulerRelaxation(Solver):
    r"""Follows :math:`du/dt = -∂F/∂u` by explicit Euler steps of all units at once, states kept within their bounds.

    .. math:: u ← \mathrm{clip}(u - ε\, ∂F/∂u)

    The free phase begins at rest, every unit at 0, or at the state it is given; the nudged phase at the free state.
    For use, `HopfieldRelaxation` finds the same states in a fraction of the time.

    Parameters
    ----------
    step_size : float
        ε, in units of the leak's time constant; positive. Too long a step oscillates.
    max_steps : int
        Steps; with `atol` the most of them.
    atol : float, optional
        Ends at the step that moves no unit by more than ε times this. Without it every phase has `max_steps` steps, as
        in the paper, and every finite state passes.

    Raises
    ------
    StimulusError
        If the step size is not positive or there is not one step.

    References
    ----------
    .. [1] B. Scellier and Y. Bengio, "Equilibrium Propagation," Front. Comput. Neurosci. 11:24, 2017,
       arXiv:1602.05179, section on the implementation of the model.
    """

    step_size: float = 0.5
    max_steps: int = 20
    atol: float | None = None

    def __post_init__(self):
        if not (0 < self.step_size < float("inf")):
            raise StimulusError(f"step_size must be positive and finite, found {self.step_size}")
        if self.max_steps < 1:
            raise StimulusError(f"max_steps must be at least 1, found {self.max_steps}")

    def trajectory(
        self,
        network: UnitNetwork,
        inputs: Tensor,
        nudge: Nudge | None = None,
        start: tuple[Tensor, ...] | None = None,
    ) -> Iterator[tuple[Tensor, ...]]:
        """States after 1, 2, … steps, without end; differentiable by the parameters.

        Parameters
        ----------
        network : UnitNetwork
            Whose.
        inputs : Tensor (*batch, n_inputs)
            Inputs.
        nudge : Nudge, optional
            A frozen one keeps the error of the start.
        start : tuple of Tensor (*batch, n_units), optional
            States at the beginning; by default at rest.
        """
        layers = network.rest(inputs) if start is None else start
        origin = layers[-1]
        while True:
            forces = network.force(inputs, layers, nudge, origin)
            pairs = zip(layers, forces, strict=True)
            layers = tuple(network.activation.clip(layer + self.step_size * force) for layer, force in pairs)
            yield layers

    @torch.no_grad()
    def solve(
        self,
        system: Network | Circuit,
        inputs: Tensor,
        nudge: Nudge | None = None,
        free: Equilibrium | None = None,
        chip: Chip | None = None,
    ) -> Equilibrium:
        network = hopfield_of(system, chip)
        if nudge is not None and free is None:
            free = self.solve(network, inputs)
        before = layers = network.rest(inputs) if free is None else free.layers
        residual, number = layers[-1].new_zeros(inputs.shape[:-1]), 0
        for number, layers in enumerate(self.trajectory(network, inputs, nudge, before), start=1):
            last = number == self.max_steps
            if last or self.atol is not None:
                residual = self._residual(before, layers)
            if last or (self.atol is not None and bool((residual <= self.atol).all())):
                break
            before = layers
        converged = torch.isfinite(residual) if self.atol is None else residual <= self.atol
        return Equilibrium(
            system=network,
            inputs=inputs,
            layers=layers,
            outputs=network.outputs_of(layers),
            converged=converged,
            residual=residual,
            iterations=number,
            message=self._message(converged, number),
            nudge=nudge,
            node_voltages=lambda: network.node_voltages(inputs, layers),
        )

    def _residual(self, before: tuple[Tensor, ...], after: tuple[Tensor, ...]) -> Tensor:
        """Largest projected force at `before`, `(*batch,)`."""
        moved = [(new - old).abs().amax(-1) for old, new in zip(before, after, strict=True)]
        return torch.stack(moved).amax(0) / self.step_size

    def _message(self, converged: Tensor, number: int) -> str:
        missed = int((~converged).sum())
        if self.atol is None:
            return (
                f"{missed} samples are not finite after {number} steps; shorten them" if missed else f"{number} steps"
            )
        if missed:
            return f"{missed} samples did not reach atol {self.atol:g} in {number} steps; raise max_steps or atol"
        return f"converged in {number} steps"
