"""Equilibrium propagation with large nudges: the derivative at 0 from several of them, complex or real."""

from __future__ import annotations

import cmath
import math

import numpy as np
from torch import Tensor

from analog_ep.equilibrium.equilibrium import Solver, solve
from analog_ep.equilibrium.layered.complex_hopfield import ComplexRelaxation
from analog_ep.equilibrium.layered.stability import require_stable_nudge
from analog_ep.equilibrium.solver_of import solver_of
from analog_ep.errors import StimulusError
from analog_ep.learning.gradients.method import GradientMethod, accumulate, mean_gradients, positive_nudging
from analog_ep.networks import Network
from analog_ep.networks.needs import units_of
from analog_ep.stimulus import Cost, Nudge, NudgeKind, as_number


class HolomorphicEquilibriumPropagation(GradientMethod):
    r"""Equilibrium propagation on a circle of complex nudges (Laborieux & Zenke 2022).

    With an analytic activation the state is a holomorphic function of β, and by Cauchy's formula [1]_

    .. math:: \frac{dC}{dθ} = \frac{1}{N |β|} \sum_{j=0}^{N-1} e^{-i φ_j}
              \left. \frac{∂E}{∂θ} \right|_{β = |β| e^{i φ_j}}, \qquad φ_j = \frac{2π j}{N} ,

    but for a bias O(\|β\|^N) that falls exponentially with N while the circle encloses no branch point. States of
    conjugate nudges are conjugate, so that N/2 + 1 phases are solved. N = 2 is the centered estimate. A branch point
    within the circle is refused only where it leaves the state at −\|β\| complex; estimates that differ between N and
    2N points show the others.

    Parameters
    ----------
    network : HopfieldNetwork
        With the activation "sigmoid" or "tanh".
    nudging : float
        \|β\| > 0.
    points : int
        N ≥ 2.
    kind : "elastic" or "frozen"
        Of the nudge; an elastic one with \|β\| ≥ 1 has a pole at −1 within the circle.
    solver : Solver, optional
        Finds the free state; by default that of the kind of network.
    relaxation : ComplexRelaxation, optional
        Finds the complex ones.
    cost : SquaredError, optional
        Gives the targets of labels, and the cost that is reported.

    Raises
    ------
    StimulusError
        If the network, the nudging or the number of points is not as above.
    ConvergenceError
        On `gradients`, see `ComplexRelaxation.path`.

    References
    ----------
    .. [1] A. Laborieux and F. Zenke, "Holomorphic Equilibrium Propagation Computes Exact Gradients Through Finite Size
       Oscillations," NeurIPS 2022, arXiv:2209.00530.
    """

    def __init__(
        self,
        network: Network,
        nudging: float,
        points: int = 8,
        kind: NudgeKind = "elastic",
        solver: Solver | None = None,
        relaxation: ComplexRelaxation | None = None,
        cost: Cost | None = None,
    ):
        super().__init__(network, cost)
        if not self.cost.quadratic:
            raise StimulusError(f"complex nudges need a SquaredError, found the cost {type(self.cost).__name__}")
        units_of(network, "complex nudges need a HopfieldNetwork", "a circuit can do HarmonicEquilibriumPropagation")
        if not 0 < as_number("nudging", nudging) < math.inf or points < 2:
            raise StimulusError(f"nudging must be positive and points at least 2, found {nudging} and {points}")
        self.nudging, self.points = positive_nudging(network, nudging), points
        self.kind: NudgeKind = kind
        self.solver = solver_of(network) if solver is None else solver
        self.relaxation = ComplexRelaxation() if relaxation is None else relaxation

    def _gradients(self, inputs: Tensor, targets: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        network = self.network
        free = solve(network, inputs, solver=self.solver)
        total: dict[str, Tensor] = {}
        strengths, weights = self.half_circle()
        for weight, layers in zip(weights, self.relaxation.path(free, strengths, targets, self.kind), strict=True):
            before = tuple(layer.to(found) for layer, found in zip(free.layers, layers, strict=True))
            response = tuple(found - layer for found, layer in zip(layers, before, strict=True))
            contrast = network.contrast(inputs.to(before[0]), before, response)
            accumulate(total, 1.0, {name: (value * weight).real for name, value in contrast.items()})
        return self.cost.value(free.outputs, targets.to(free.outputs)).mean(), mean_gradients(network, total, inputs)

    def half_circle(self) -> tuple[list[complex], list[complex]]:
        """Nudges from |β| to −|β|, and the weight of each one's ∂E/∂θ, of whose product the real part counts."""
        strengths, weights = [], []
        for j in range(self.points // 2 + 1):
            alone = j == 0 or 2 * j == self.points
            direction = complex((-1.0) ** (j > 0)) if alone else cmath.exp(2j * math.pi * j / self.points)
            strengths.append(self.nudging * direction)
            # A point off the real axis stands for its conjugate too.
            weights.append((1 if alone else 2) * direction.conjugate() / (self.points * self.nudging))
        return strengths, weights


class HarmonicEquilibriumPropagation(GradientMethod):
    r"""Equilibrium propagation with a sinusoidal nudge, as a circuit can do it: β(θ) = β₀ cos θ, slow.

    The quasi-static response of q = ∂E/∂θ, of a conductance ½ v², has harmonics c_k cos kθ. Since q is a function of
    β, they are its Chebyshev coefficients, whose series has the derivative

    .. math:: \frac{dC}{dg} = \frac{1}{β_0} \sum_{k\ \mathrm{odd}} (-1)^{(k-1)/2}\, k\, c_k .

    The first harmonic alone, which a lock-in amplifier reads, is off by O(β₀²): c_1/β₀ is the derivative plus ¾ of the
    cubic coefficient times β₀². With all odd harmonics up to K the bias is O(β₀^(K+1)).

    Parameters
    ----------
    network : Network
        What to train.
    nudging : float
        Radius β₀ of the nudges; positive.
    harmonics : int
        K, the highest one that counts; odd.
    points : int, optional
        Phases in half a period, at θ = π (j + ½)/N; even, more than K. By default K + 1.
    cost : Cost, optional
        C; by default `SquaredError`.
    kind : "frozen" or "elastic"
        Kind of the nudge; see `Nudge`.
    solver : Solver, optional
        By default that of the kind of network.

    Raises
    ------
    StimulusError
        If nudging, harmonics or points are not as above.
    UnstableNudgeError
        On `gradients`, if an elastic nudge is beyond the stable range.
    """

    def __init__(
        self,
        network: Network,
        nudging: float,
        harmonics: int = 7,
        points: int | None = None,
        cost: Cost | None = None,
        kind: NudgeKind = "frozen",
        solver: Solver | None = None,
    ):
        super().__init__(network, cost)
        points = harmonics + 1 if points is None else points
        require_harmonics(harmonics, points)
        self.nudging, self.harmonics, self.points = positive_nudging(network, nudging), harmonics, points
        self.kind: NudgeKind = kind
        self.solver = solver_of(network) if solver is None else solver

    def _gradients(self, inputs: Tensor, targets: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        network = self.network
        free = solve(network, inputs, solver=self.solver)
        total: dict[str, Tensor] = {}
        for share, weight in zip(*self.quadrature(), strict=True):
            nudge = Nudge(self.nudging * float(share), targets, self.cost, self.kind)
            require_stable_nudge(network, nudge, [free])
            nudged = solve(network, inputs, nudge, solver=self.solver, start=free)
            contrast = network.contrast(inputs.to(free.layers[0]), free.layers, nudged.response(about=free))
            accumulate(total, float(weight) / self.nudging, contrast)
        return self.cost.value(free.outputs, targets.to(free.outputs)).mean(), mean_gradients(network, total, inputs)

    def quadrature(self) -> tuple[np.ndarray, np.ndarray]:
        """Cos θ of each phase, and what its q counts for in β₀ times the derivative."""
        angles = np.pi * (np.arange(self.points) + 0.5) / self.points
        cosines = np.cos(np.arange(self.harmonics + 1)[:, None] * angles)
        return np.cos(angles), 2 / self.points * harmonic_weights(self.harmonics) @ cosines


def require_harmonics(harmonics: int, points: int) -> None:
    """Refuse harmonics that are not odd, and points that are not even or too few for them.

    Raises
    ------
    StimulusError
        Naming both.
    """
    if harmonics < 1 or harmonics % 2 == 0 or points % 2 or points <= harmonics:
        raise StimulusError(f"harmonics must be odd, and points even and more, found {harmonics} and {points}")


def harmonic_weights(harmonics: int) -> np.ndarray:
    """What each cosine coefficient c_0 … c_K counts for in β₀ times the derivative: (−1)^((k−1)/2) k of odd k."""
    k = np.arange(harmonics + 1)
    return np.where(k % 2 == 1, k * (-1.0) ** ((k - 1) // 2), 0.0)
