"""The state of one sample to the last digit of float64, with a bound on its error that is verified."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from analog_ep.circuit import GROUND
from analog_ep.equilibrium.nodal.double_double import Double
from analog_ep.equilibrium.nodal.samples import Sample
from analog_ep.equilibrium.nodal.scaling import scales
from analog_ep.equilibrium.nodal.tableau import Branching, Tableau
from analog_ep.equilibrium.nodal.uncertainty import EPSILON, sum_uncertainty

_ROUNDS = 12
"""Of widening an enclosure until it holds."""


@dataclass(frozen=True, eq=False)
class ExactState:
    """A refined state.

    Attributes
    ----------
    voltages : ndarray (n_nodes,)
        Node voltages, ground first. [V]
    bound : ndarray (n_nodes,)
        Most that each is off; infinite where no bound could be verified. [V]
    steps : int
        Newton steps taken.
    """

    voltages: np.ndarray
    bound: np.ndarray
    steps: int


def exact_state(branching: Branching, sample: Sample, voltages: np.ndarray, max_steps: int) -> ExactState:
    r"""Refine node voltages `(n_nodes,)` [V] by Newton's method in tree voltages, and enclose the solution.

    With R an approximate inverse of the Jacobian J at the refined x, every solution x + e of the equations obeys
    :math:`e = -R F + (1 - R J) e - R\,b(e)`, b what the equations bend within e. An interval of e that the right-hand
    side maps into itself holds a solution (Brouwer; Krawczyk's operator), and all sizes are known: F with twice the
    digits, its uncertainty from the laws' rounding, 1 − R J by computation and b from the slopes at the ends of e.
    Only the rounding within R J is taken as likely, at eight standard deviations, in place of its worst case.
    """
    with np.errstate(all="ignore"):
        tableau = Tableau(branching, sample, voltages)
        unknowns, steps = _refined(tableau, tableau.start(voltages), max_steps)
        found = tableau.voltages(unknowns)
        bound = _enclosure(tableau, unknowns)
    return ExactState(found.high, bound + 0.5 * EPSILON * np.abs(found.high), steps)


def _refined(tableau: Tableau, x: Double, max_steps: int) -> tuple[Double, int]:
    """Newton's method until the steps no longer shrink."""
    previous, steps = np.inf, 0
    for steps in range(1, max_steps + 1):
        state = tableau.at(x)
        matrix, _ = tableau.jacobian(state.slopes)
        step = _solve(matrix, -state.residual.high)
        if step is None:
            return x, steps
        length = _length(tableau, x, step)
        x = x + Double.of(length * step)
        size = _relative(tableau, x, step)
        if length == 1 and (size < EPSILON**1.5 or (size < EPSILON and size > 0.1 * previous)):
            break
        previous = size
    return x, steps


def _relative(tableau: Tableau, x: Double, step: np.ndarray) -> float:
    """Largest move of a node relative to the largest voltage."""
    moved = np.abs(tableau.paths.matrix @ step[: tableau.n_tree]).max(initial=0.0)
    return moved / max(np.abs(tableau.voltages(x).high).max(initial=0.0), np.finfo(np.float64).tiny)


def _length(tableau: Tableau, x: Double, step: np.ndarray) -> float:
    """How much of a step to take: junctions that conduct go up by some thermal voltages at most."""
    volts, moved, growth = tableau.controls(x), tableau.controls(Double.of(step)), tableau.branching.system.growth
    bounded = np.isfinite(growth)
    volts, moved, growth = volts[bounded], moved[bounded], growth[bounded]
    allowed = np.maximum(2 * growth, 5 * growth - volts)
    return float(np.where(moved > allowed, allowed / np.where(moved > allowed, moved, 1.0), 1.0).min(initial=1.0))


def _solve(matrix: np.ndarray, right: np.ndarray) -> np.ndarray | None:
    if not np.isfinite(matrix).all() or not np.isfinite(right).all():
        return None
    rows, columns = scales(np.abs(matrix))
    try:
        solution = columns * np.linalg.solve(rows[:, None] * matrix * columns, rows * right)
    except np.linalg.LinAlgError:
        return None
    return solution if np.isfinite(solution).all() else None


def _enclosure(tableau: Tableau, x: Double) -> np.ndarray:
    """Radius of each node's voltage about x within which the solution lies. [V]"""
    hopeless = np.full(tableau.branching.n_nodes, np.inf)
    hopeless[GROUND] = 0.0
    state = tableau.at(x)
    matrix, magnitude = tableau.jacobian(state.slopes)
    if not np.isfinite(matrix).all():
        return hopeless
    rows, columns = scales(np.abs(matrix))
    scaled = rows[:, None] * matrix * columns
    try:
        inverse = np.linalg.inv(scaled)
    except np.linalg.LinAlgError:
        return hopeless
    size = np.abs(inverse)
    rounding = sum_uncertainty(len(matrix)) * (size @ (rows[:, None] * magnitude * columns))
    left = np.abs(np.eye(len(matrix)) - inverse @ scaled) + rounding
    base = np.abs(inverse @ (rows * state.residual.high)) + size @ (rows * state.uncertainty)
    radius = 1.1 * base
    for _ in range(_ROUNDS):
        bend = size @ (rows * tableau.curvature(x, columns * radius))
        wanted = base + left @ radius + bend
        if (wanted <= radius).all():
            break
        radius = np.maximum(radius, 1.1 * wanted)
    else:
        return hopeless
    # The first part directly for the nodes: along a path errors of y may cancel.
    to_nodes = tableau.paths.matrix[:, :] @ (columns[: tableau.n_tree, None] * inverse[: tableau.n_tree])
    first = np.abs(to_nodes @ (rows * state.residual.high)) + np.abs(to_nodes) @ (rows * state.uncertainty)
    rest = columns * (left @ radius + bend)
    return first + tableau.paths.magnitude @ rest[: tableau.n_tree]
