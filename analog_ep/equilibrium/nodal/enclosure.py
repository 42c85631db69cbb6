"""Bounds on the errors of many states at once, by enclosures in float64."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch

from analog_ep.equilibrium.nodal.bends import bends, nudge_bends
from analog_ep.equilibrium.nodal.samples import Stimulus
from analog_ep.equilibrium.nodal.scaling import scales
from analog_ep.equilibrium.nodal.tableau import Branching, Structure
from analog_ep.equilibrium.nodal.uncertainty import EPSILON, current_uncertainty, nudge_uncertainty, sum_uncertainty

_ROUNDS = 3
"""Of widening an enclosure until it holds."""

_ENTRIES = 2**21
"""Of the Jacobians that are held at a time."""


def enclosed(branching: Branching, stimulus: Stimulus, voltages: np.ndarray) -> np.ndarray:
    r"""Most that a node's voltage is off, `(n_samples,)`; infinite where no enclosure was found. [V]

    The operator of `exact_state`, :math:`e = -R F + (1 - R J) e - R\,b(e)`, at the states as they are: F in float64,
    with the rounding of its sums and laws as its uncertainty. Where the equations are not nearly singular that says
    what twice the digits would say, in a hundredth of the time. All samples share one tree.

    Parameters
    ----------
    branching : Branching
        The circuit.
    stimulus : Stimulus
        What is done to it in these samples.
    voltages : ndarray (n_samples, n_nodes)
        Finite states, ground first. [V]
    """
    found, step = np.full(len(voltages), np.inf), max(1, _ENTRIES // max(1, branching.size**2))
    with np.errstate(all="ignore"):
        slopes = branching.system.currents((branching.controls.T @ voltages[0])[None])[1][0]
        structure = branching.structure(slopes)
        for begin in range(0, len(voltages), step):
            part = np.arange(begin, min(begin + step, len(voltages)))
            found[part] = _Batch(branching, structure, stimulus.select(part)).bound(voltages[part])
    return np.where(np.isfinite(found), found, np.inf)


@dataclass(frozen=True, eq=False)
class _Batch:
    """The equations of some samples in the voltages y of one tree and the currents c, in the letters of `Tableau`."""

    branching: Branching
    structure: Structure
    stimulus: Stimulus

    def bound(self, voltages: np.ndarray) -> np.ndarray:
        """`(n_samples,)` for states `(n_samples, n_nodes)`. [V]"""
        common, n_tree = self.structure, self.structure.n_tree
        own = np.arange(1, n_tree + 1)
        tree = voltages[:, own] - voltages[:, common.before[own]]
        # The states have no currents c: these are part of e, in which F is linear.
        residual, uncertainty, jacobian, magnitude = self._at(tree)
        n = jacobian.shape[-1]
        rows, columns = scales(np.abs(jacobian))
        scaled = rows[..., None] * jacobian * columns[..., None, :]
        tensor, failed = torch.linalg.inv_ex(torch.from_numpy(scaled))
        inverse = tensor.numpy()
        size = np.abs(inverse)

        def sizes(terms: np.ndarray) -> np.ndarray:
            return _times(size, rows * terms)

        left = np.abs(np.eye(n) - inverse @ scaled)
        left += sum_uncertainty(n) * (size @ (rows[..., None] * magnitude * columns[..., None, :]))
        base = np.abs(_times(inverse, rows * residual)) + sizes(uncertainty)
        radius = 1.1 * base
        for _ in range(_ROUNDS):
            bend = sizes(self._curvature(tree, (columns * radius)[:, :n_tree], n))
            wanted = base + _times(left, radius) + bend
            holds = np.asarray((wanted <= radius).all(axis=1))
            if holds.all():
                break
            radius = np.where(holds[:, None], radius, np.maximum(radius, 1.1 * wanted))
        paths, lengths = (np.asarray(m.toarray()) for m in (common.paths.matrix, common.paths.magnitude))
        # The first part directly for the nodes: along a path errors of y may cancel.
        to_nodes = paths @ (columns[:, :n_tree, None] * inverse[:, :n_tree])
        first = np.abs(_times(to_nodes, rows * residual)) + _times(np.abs(to_nodes), rows * uncertainty)
        rest = columns * (_times(left, radius) + bend)
        moved = np.abs(voltages - tree @ paths.T) + sum_uncertainty(n_tree) * np.abs(tree) @ lengths.T
        found = (first + rest[:, :n_tree] @ lengths.T + moved).max(axis=1)
        return np.where(holds & (failed.numpy() == 0), found, np.inf)

    @cached_property
    def _rounding(self) -> np.ndarray:
        """Relative to the magnitudes in each equation, of the sums that it is, `(n_unknowns,)`."""
        terms = np.diff(self.structure.matrix.indptr)
        terms[: self.structure.n_tree] += np.diff(self.structure.linear.law.matrix.indptr)
        terms[: self.structure.n_tree] += np.diff(self.structure.nonlinear.law.matrix.indptr)
        return sum_uncertainty(terms)

    def _at(self, tree: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """F without currents c, its uncertainty, the Jacobian, and the sums of magnitudes in its entries."""
        b, common, n_tree = self.branching, self.structure, self.structure.n_tree
        matrix, magnitude = common.matrix.toarray(), common.magnitude.toarray()
        residual = tree @ matrix[:, :n_tree].T
        terms = np.abs(tree) @ magnitude[:, :n_tree].T
        residual[:, :n_tree] += common.constant.high
        terms[:, :n_tree] += common.cuts.magnitude @ np.abs(b.constant)
        prescribed = np.stack([b.prescribed(sample).high for sample in self.stimulus.inputs])
        residual[:, n_tree:] -= prescribed
        terms[:, n_tree:] += np.abs(prescribed) + b.rounded()
        law, voltage = (np.asarray(m.matrix.toarray()) for m in (common.nonlinear.law, common.nonlinear.voltage))
        volts, sums = tree @ voltage.T, np.abs(tree) @ np.abs(voltage).T
        current, slopes = b.system.currents(volts)
        doubt = current_uncertainty(b.system.groups, volts, current, slopes, sums)
        along = sum_uncertainty(np.diff(common.nonlinear.voltage.matrix.indptr))
        np.add.at(doubt.T, b.system.controlled, (along * np.abs(slopes) * sums).T)
        residual[:, :n_tree] += current @ law.T
        terms[:, :n_tree] += np.abs(current) @ np.abs(law).T
        uncertainty = self._rounding * terms
        uncertainty[:, :n_tree] += doubt @ np.abs(law).T
        by_control = common.by_control.toarray() * slopes[:, None, :]
        jacobian, magnitude = (np.tile(m, (len(tree), 1, 1)) for m in (matrix, magnitude))
        jacobian[:, :n_tree, :n_tree] += by_control @ voltage
        magnitude[:, :n_tree, :n_tree] += np.abs(by_control) @ np.abs(voltage)
        self._nudge(tree, residual, uncertainty, jacobian, magnitude)
        return residual, uncertainty, jacobian, magnitude

    def _nudge(
        self,
        tree: np.ndarray,
        residual: np.ndarray,
        uncertainty: np.ndarray,
        jacobian: np.ndarray,
        magnitude: np.ndarray,
    ) -> None:
        """Add what the nudge does, in place."""
        nudge, injected = self.stimulus.nudge, self.stimulus.injected
        if nudge is None and injected is None:
            return
        n_tree = self.structure.n_tree
        law, voltage = (part.matrix.toarray() for part in (self.structure.output.law, self.structure.output.voltage))
        if nudge is None:
            current = injected
            assert current is not None
            doubt = 2 * EPSILON * np.abs(current)
        else:
            outputs, sums = tree @ voltage.T, np.abs(tree) @ np.abs(voltage).T
            volts = torch.from_numpy(outputs)
            current = nudge.current(volts).numpy()
            square = nudge.strength * nudge.cost.hessian(volts).numpy()
            along = sum_uncertainty(np.diff(self.structure.output.voltage.matrix.indptr))
            doubt = nudge_uncertainty(nudge, current, sums) + _times(np.abs(square), along * sums)
            jacobian[:, :n_tree, :n_tree] += law @ square @ voltage
            magnitude[:, :n_tree, :n_tree] += np.abs(law) @ np.abs(square) @ np.abs(voltage)
        residual[:, :n_tree] -= current @ law.T
        doubt += sum_uncertainty(law.shape[1]) * np.abs(current)
        uncertainty[:, :n_tree] += doubt @ np.abs(law).T

    def _curvature(self, tree: np.ndarray, reach: np.ndarray, size: int) -> np.ndarray:
        """Most that F is off its tangent where y moves by `reach` at most, `(n_samples, size)`. [A]"""
        nonlinear, total = self.structure.nonlinear, np.zeros((len(tree), size))
        volts, moved = (nonlinear.voltage.matrix @ tree.T).T, (nonlinear.voltage.magnitude @ reach.T).T
        bend = bends(self.branching.system, np.ascontiguousarray(volts), np.ascontiguousarray(moved))
        total[:, : tree.shape[1]] = (nonlinear.law.magnitude @ bend.T).T
        if (nudge := self.stimulus.nudge) is not None:
            output = self.structure.output
            outputs, moved = (output.voltage.matrix @ tree.T).T, (output.voltage.magnitude @ reach.T).T
            total[:, : tree.shape[1]] += (output.law.magnitude @ nudge_bends(nudge, outputs, moved).T).T
        return total


def _times(matrices: np.ndarray, vectors: np.ndarray) -> np.ndarray:
    """Products of matrices `(n_samples, n, m)` with vectors `(n_samples, m)`."""
    return (matrices @ vectors[..., None])[..., 0]
