"""Fixed points of a Hopfield network under a complex nudge, continued along a path from the free state."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from analog_ep.equilibrium.equilibrium import Equilibrium
from analog_ep.errors import ConvergenceError, StimulusError
from analog_ep.networks import UnitNetwork
from analog_ep.networks.needs import units_of
from analog_ep.stimulus import NudgeKind, SquaredError

_MAX_NEWTON_STEPS = 60
_REAL = 1e-6
"""Largest imaginary part of a state under a real nudge, relative to its change, that is put down to rounding."""


@dataclass(frozen=True)
class ComplexRelaxation:
    """Solves ∂F/∂u = 0 for complex β, layer by layer, from the state at the nudge before.

    The equations are those of the network with its activation continued analytically; nothing is conjugated, so that
    the state is a holomorphic function of β. With its neighbours held, each unit is solved by Newton's method.

    Parameters
    ----------
    rtol : float, optional
        Largest change of a unit in the last sweep, relative to the largest state of its layer; by default 1e-5 in
        single and 1e-12 in double precision.
    max_steps : int
        Most sweeps for one nudge.
    """

    rtol: float | None = None
    max_steps: int = 500

    @torch.no_grad()
    def path(
        self,
        free: Equilibrium,
        nudging: Sequence[complex],
        targets: Tensor,
        kind: NudgeKind = "elastic",
    ) -> Iterator[tuple[Tensor, ...]]:
        """Complex layers at each β of a path, each `(*batch, n_units)`.

        Parameters
        ----------
        free : Equilibrium
            The free state of a `HopfieldNetwork`.
        nudging : sequence of complex
            Strengths, each near the one before; the first near 0.
        targets : Tensor (*batch, n_outputs)
            Of the squared error.
        kind : "frozen" or "elastic"
            Whether the force follows the outputs.

        Raises
        ------
        StimulusError
            If the activation is not analytic.
        ConvergenceError
            If the sweeps do not settle, or a state under a real nudge is not real: then a branch point lies between.
        """
        network = units_of(
            free.system, "complex nudges need a HopfieldNetwork", "a circuit can do HarmonicEquilibriumPropagation"
        )
        if network.activation.bounds is not None or network.activation.clamp is not None:
            raise StimulusError(
                f"a complex nudge needs an analytic activation, found {type(network.activation).__name__}; "
                "use sigmoid or tanh"
            )
        dtype = torch.complex64 if free.layers[0].dtype == torch.float32 else torch.complex128
        layers = [layer.to(dtype) for layer in free.layers]
        sweeps = _Sweeps(network, free.inputs.to(dtype), free.outputs.to(dtype), targets.to(dtype), kind)
        rtol = self.rtol or (1e-5 if dtype == torch.complex64 else 1e-12)
        for strength in nudging:
            self._settle(sweeps, layers, complex(strength), rtol)
            if complex(strength).imag == 0:
                _require_real(layers, free, strength)
            yield tuple(layers)

    def _settle(self, sweeps: _Sweeps, layers: list[Tensor], strength: complex, rtol: float) -> None:
        for _ in range(self.max_steps):
            if sweeps.sweep(layers, strength) <= rtol:
                return
        raise ConvergenceError(
            f"the state under the nudge {strength:.3g} must settle, found it moving after {self.max_steps} sweeps; "
            "lower the nudging or raise max_steps"
        )


class _Sweeps:
    """The layer equations of one batch."""

    def __init__(self, network: UnitNetwork, inputs: Tensor, free: Tensor, targets: Tensor, kind: NudgeKind):
        self.rho, self.kind = network.activation, kind
        self.weights = [weight.detach().to(inputs.dtype) for weight in network.weights]
        self.biases = [bias.detach() for bias in network.biases]
        self.first = inputs @ self.weights[0] + self.biases[0]
        self.targets = targets
        self.error = SquaredError().gradient(free, targets)

    def sweep(self, layers: list[Tensor], strength: complex) -> float:
        """Settle every layer once, in place; the largest relative change."""
        change = 0.0
        for k in range(len(layers)):
            drive = self._drive(layers, k)
            load, pull = 1.0 + 0j, torch.zeros_like(layers[k])
            if k + 1 == len(layers):
                load = 1 + strength if self.kind == "elastic" else load
                pull = strength * self.targets if self.kind == "elastic" else -strength * self.error
            found = self._settled(layers[k], drive, load, pull)
            moved = (found - layers[k]).abs().max() / found.abs().max().clamp(min=1e-30)
            change, layers[k] = max(change, float(moved)), found
        # NaN compares as false: what overflowed has not settled.
        return change if all(bool(torch.isfinite(layer).all()) for layer in layers) else float("nan")

    def _drive(self, layers: list[Tensor], k: int) -> Tensor:
        drive = self.first if k == 0 else self.rho.value(layers[k - 1]) @ self.weights[k] + self.biases[k]
        return drive + self.rho.value(layers[k + 1]) @ self.weights[k + 1].mT if k + 1 < len(layers) else drive

    def _settled(self, state: Tensor, drive: Tensor, load: complex, pull: Tensor) -> Tensor:
        """Solve load·u − ρ'(u) p = pull for each unit, near `state`."""
        for _ in range(_MAX_NEWTON_STEPS):
            wrong = load * state - self.rho.slope(state) * drive - pull
            step = wrong / (load - self.rho.curvature(state) * drive)
            state = state - step
            if float(step.abs().max()) <= 4 * torch.finfo(step.dtype).eps * float(state.abs().max()):
                break
        return state


def _require_real(layers: list[Tensor], free: Equilibrium, strength: complex) -> None:
    for layer, start in zip(layers, free.layers, strict=True):
        imaginary, change = float(layer.imag.abs().max()), float((layer.real - start).abs().max())
        rounding = 10 * torch.finfo(start.dtype).eps ** 0.5 * float(start.abs().max())
        if imaginary > _REAL * change + rounding:
            raise ConvergenceError(
                f"the state under the real nudge {complex(strength).real:.3g} must be real, found an imaginary part of "
                f"{imaginary:.1e}: a branch point lies within the contour; lower the nudging"
            )
