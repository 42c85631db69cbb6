"""A bound on voltage errors that holds for a whole batch after one factorisation of the circuit."""

from __future__ import annotations

import copy
from dataclasses import dataclass

import numpy as np
from scipy.linalg import cho_factor, cho_solve, solve_triangular
from scipy.sparse import csc_array, csr_array

from analog_ep.circuit import Circuit, CurrentLaw
from analog_ep.circuit.energy import held_nodes
from analog_ep.equilibrium.nodal.assembly import apply
from analog_ep.equilibrium.nodal.elimination import elimination_of
from analog_ep.equilibrium.nodal.reduction import ReducedSystem
from analog_ep.equilibrium.nodal.uncertainty import (
    EPSILON,
    current_uncertainty,
    nudge_uncertainty,
    sum_uncertainty,
)
from analog_ep.stimulus import Nudge

_DENSE = 1000
"""Unknowns up to which the dense inverse is formed, and up to four times as many where the matrix is filled."""

_FILLED = 0.02
"""Part of the entries from which on a matrix counts as filled."""

_TRUSTED = 0.01
"""Part of the conductances that rounding may change within a factorisation that is relied on."""

_OPERATIONS = 4
"""Roundings of a characteristic, as in `current_uncertainty`."""

_ALIGNED = 1e-9


@dataclass(frozen=True, eq=False)
class _Quick:
    """Weights by node, and sums over them, of what `EnergyBound.quick` adds up."""

    residual: np.ndarray
    scale: np.ndarray
    slope: np.ndarray
    steepest: float
    largest: float
    known: float


class EnergyBound:
    r"""The bound of circuits whose diodes can only bring states closer together.

    With d weights that make diag(d) J symmetric, or nearly so, S the symmetric part of diag(d) M, M the Jacobian
    without diodes and nudge, and F the residual of a state that is e away from the solution,

    .. math:: e^T S e \le e^T \mathrm{diag}(d) F \quad\Rightarrow\quad
              |e_k| \le \sqrt{(S^{-1})_{kk}}\, \lVert \mathrm{diag}(d) F \rVert_{S^{-1}}

    if S is positive definite and every diode's slope adds a positive semidefinite part. It holds for any distance, and
    no slope at the state is needed. Of what is uncertain in F, the deviation of amplifiers' outputs enters by
    :math:`\sum_j d_j u_j \sqrt{(S^{-1})_{jj}}`, no less than its norm, and roundings, which are independent from row to
    row, by the root of the sum of these squares.

    Parameters
    ----------
    circuit : Circuit
        The circuit.
    system : ReducedSystem
        Its equations.
    weights : ndarray (n_unknowns,) or None
        d.

    Attributes
    ----------
    is_available : bool
        Whether the circuit is such a one, and well enough conditioned for the factorisation to be relied on.
    """

    def __init__(self, circuit: Circuit, system: ReducedSystem, weights: np.ndarray | None):
        self.system = system
        self.is_available = (
            weights is not None
            and system.n_voltages == system.n_unknowns
            and system.n_unknowns > 0
            and system.is_passive
            and all(group.law.is_two_terminal for group in system.groups)
            and _aligned(weights, csc_array(system.nonlinear.law)[:, system.controlled], system.controls.voltage)
        )
        if self.is_available:
            assert weights is not None
            self._weights = weights
            self._factorise()
            self._describe(circuit)

    def with_laws(self, circuit: Circuit, system: ReducedSystem) -> EnergyBound:
        """The bound of a circuit that differs in the laws of nonlinear branches alone, see `differs_in_laws`."""
        bound = copy.copy(self)
        bound.system = system
        if self.has_quick:
            bound._prepare_quick(circuit)
        return bound

    def _factorise(self) -> None:
        weighted = csr_array(self._weights[:, None] * self.system.matrix)
        symmetric = csr_array(0.5 * (weighted + weighted.T))
        diagonal = symmetric.diagonal()
        if not (diagonal > 0).all():
            self.is_available = False
            return
        self._scale = 1 / np.sqrt(diagonal)
        scaled = csr_array(self._scale[:, None] * symmetric * self._scale)
        inverse = _inverse(scaled)
        # The largest eigenvalue of the inverse is below its trace.
        if inverse is None or not len(diagonal) * EPSILON * inverse.diagonal.sum() < _TRUSTED:
            self.is_available = False
            return
        self._inverse, self._root = inverse, self._scale * np.sqrt(np.abs(inverse.diagonal))

    def _describe(self, circuit: Circuit) -> None:
        if not self.is_available:
            return
        system = self.system
        self._reach = float((abs(system.expansion) @ self._root).max(initial=0.0))
        known = np.ones(circuit.n_nodes, dtype=bool)
        self._free = system.unknowns(np.arange(circuit.n_nodes, dtype=np.float64)[None])[0].astype(np.int64)
        known[self._free] = False
        self._known = np.flatnonzero(known)
        self._known_expansion = csr_array(system.expansion[self._known])
        self._known_sources = csr_array(system.source_expansion[self._known])
        self._outputs = csr_array(system.outputs.incidence.T)
        to_known, terms = np.zeros((2, circuit.n_nodes))
        for group in circuit.of_kind(CurrentLaw):
            if not (group.linear and group.controls()):
                continue
            first, second = group.ends()
            total = np.sum(np.abs(group.slopes(*[np.zeros(len(group))] * len(group.controls()))), axis=0)
            siemens = np.where(known[first] | known[second], total, 0.0)
            for node in (first, second):
                to_known += np.bincount(node, siemens, minlength=circuit.n_nodes)
                terms += np.bincount(node, minlength=circuit.n_nodes)
        self._law = abs(system.law)
        self._to_known, self._terms = self._law @ to_known, (self._law > 0) @ terms
        self._prepare_quick(circuit)

    def _prepare_quick(self, circuit: Circuit) -> None:
        """Weights of `quick`; None where a law does not tell its steepness, or an amplifier's input is held."""
        driven = np.flatnonzero(np.diff(self._known_expansion.indptr))
        self._driven, self._driven_expansion = self._known[driven], csr_array(self._known_expansion[driven])
        drive = csr_array(self._known_sources[driven]).toarray()
        self._driven_offset = drive[:, -1] if len(driven) else np.zeros(0)
        plain = held_nodes(circuit)[np.delete(self._known, driven)].all() and not drive[:, :-1].any()
        self._quick = self._weights_of_quick(circuit.n_nodes) if plain else None

    def _weights_of_quick(self, n_nodes: int) -> _Quick | None:
        root = self._weights * self._root
        on_nodes = self._law.T @ root
        emission, bare = np.full(n_nodes, np.inf), np.zeros(n_nodes)
        condition = np.ones(n_nodes)
        for law in (group.law for group in self.system.groups):
            if (steepness := law.steepness()) is None:
                return None
            for node in law.ends():
                np.minimum.at(emission, node, steepness[0])
                np.maximum.at(condition, node, law.condition())
                np.add.at(bare, node, steepness[1])
        residual = np.zeros(n_nodes)
        residual[self._free] = root
        rounding = sum_uncertainty(self._terms) * root
        return _Quick(
            residual=residual,
            scale=self._law.T @ rounding + _OPERATIONS * EPSILON * condition * on_nodes,
            slope=on_nodes / emission,
            steepest=float(on_nodes @ bare),
            largest=float(rounding @ self._to_known),
            known=float(root @ self._to_known),
        )

    @property
    def has_quick(self) -> bool:
        """Whether there are `quick` bounds."""
        return self.is_available and self._quick is not None

    def serves(self, nudge: Nudge | None) -> bool:
        """Whether the bound holds under an elastic nudge, or none."""
        outputs = self.system.outputs
        return self.is_available and (
            nudge is None or (nudge.strength >= 0 and _aligned(self._weights, outputs.law, outputs.voltage))
        )

    def bounds(
        self,
        sources: np.ndarray,
        voltages: np.ndarray,
        residual: np.ndarray,
        scale: np.ndarray,
        nudge: Nudge | None,
        injected: np.ndarray | None,
    ) -> np.ndarray:
        """Most that a node of each sample is off, `(n_samples,)`. [V]

        Parameters
        ----------
        sources : ndarray (n_samples, n_sources + 1)
            As `Drive` has them. [V]
        voltages : ndarray (n_samples, n_nodes)
            States. [V]
        residual, scale : ndarray (n_samples, n_nodes)
            What `kirchhoff_residual` says of them. [A]
        nudge : Nudge or None
            An elastic one.
        injected : ndarray (n_samples, n_outputs) or None
            Currents of the nudge, of either kind, into v₊ and out of v₋. [A]
        """
        off, root = self._off(sources, voltages), self._weights * self._root
        force = self._scale * self._weights * residual[:, self._free]
        norm = self._inverse.norms(force)
        size = np.abs(voltages[:, self._known]).max(axis=1, initial=0.0)[:, None]
        doubt = sum_uncertainty(self._terms) * (apply(self._law, scale) + self._to_known * size)
        doubtful, slope = self._doubt_of_diodes(voltages)
        doubt = doubt + doubtful
        if injected is not None:
            doubt = doubt + self._doubt_of_nudge(voltages, nudge, injected)
        total = norm + np.linalg.norm(doubt * root, axis=1) + (self._to_known + slope) @ root * off[:, 0]
        return (1 + _TRUSTED) * total * self._reach + off[:, 0] + EPSILON * np.abs(voltages).max(axis=1, initial=0.0)

    def quick(self, voltages: np.ndarray, magnitude: np.ndarray, scale: np.ndarray) -> np.ndarray:
        """Bounds as `bounds` gives them but larger, `(n_samples,)`, by products with vectors alone; no nudge's. [V]

        The currents of a node stand for those of its diodes, and with them for their slopes: an exponential's slope is
        its current, the saturation current added, over its emission voltage. Nodes that sources hold must have their
        voltages.

        Parameters
        ----------
        voltages : ndarray (n_samples, n_nodes)
            States. [V]
        magnitude, scale : ndarray (n_samples, n_nodes)
            Magnitude of what `kirchhoff_residual` calls residual, and the scale. [A]
        """
        weights = self._quick
        assert weights is not None, "ask has_quick first"
        largest = np.maximum(voltages.max(axis=1, initial=0.0), -voltages.min(axis=1, initial=0.0))
        slopes = scale @ weights.slope + weights.steepest
        moved = self._amplified(voltages) + 4 * _OPERATIONS * EPSILON * largest
        doubt = scale @ weights.scale + largest * weights.largest
        total = magnitude @ weights.residual + doubt + moved * (slopes + weights.known)
        return (1 + _TRUSTED) * total * self._reach + moved + EPSILON * largest

    def _amplified(self, voltages: np.ndarray) -> np.ndarray | float:
        """How far amplifiers' outputs are from what their inputs make them, `(n_samples,)`. [V]"""
        if not len(self._driven):
            return 0.0
        right = apply(self._driven_expansion, voltages[:, self._free]) + self._driven_offset
        return np.abs(voltages[:, self._driven] - right).max(axis=1, initial=0.0)

    def _off(self, sources: np.ndarray, voltages: np.ndarray) -> np.ndarray:
        """How far the nodes with known voltages are from what those of the free nodes make them, `(n_samples, 1)`."""
        right = apply(self._known_expansion, voltages[:, self._free]) + apply(self._known_sources, sources)
        return np.abs(voltages[:, self._known] - right).max(axis=1, initial=0.0)[:, None]

    def _doubt_of_diodes(self, voltages: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Of the residual [A], and the diodes' slopes at each node [S], both `(n_samples, n_unknowns)`."""
        system, ends = self.system, self.system.controls.ends
        doubts, steepness = np.empty((2, len(voltages), system.n_unknowns))
        for part in ends.parts(len(voltages)):
            volts, size = ends.across(voltages[part]), ends.sizes(voltages[part])
            current, slopes = system.currents(volts)
            doubt = current_uncertainty(system.groups, volts, current, slopes, size)
            # With a symmetric law every branch has one control, its own voltage.
            doubts[part], steepness[part] = system.sizes_at_unknowns(doubt), system.sizes_at_unknowns(slopes)
        return doubts, steepness

    def _doubt_of_nudge(self, voltages: np.ndarray, nudge: Nudge | None, injected: np.ndarray) -> np.ndarray:
        if nudge is None:
            doubt = 2 * EPSILON * np.abs(injected)
        else:
            size = apply(abs(self._outputs), np.abs(voltages))
            doubt = nudge_uncertainty(nudge, injected, size)
        return apply(self.system.magnitudes[2], doubt)


class _DenseInverse:
    """The inverse of a symmetric, positive definite matrix by its Cholesky factor, `LinAlgError` for another one."""

    def __init__(self, matrix: csr_array):
        factor = cho_factor(matrix.toarray(), lower=True)
        self.diagonal = cho_solve(factor, np.eye(matrix.shape[0])).diagonal()  # pyright: ignore[reportOptionalSubscript]
        self._factor = np.tril(factor[0])

    def norms(self, vectors: np.ndarray) -> np.ndarray:
        """Norms in the inverse of vectors `(n_samples, n)`."""
        return np.linalg.norm(solve_triangular(self._factor, vectors.T, lower=True, check_finite=False), axis=0)


class _SparseInverse:
    """As `_DenseInverse`, of a matrix with few entries."""

    def __init__(self, matrix: csr_array):
        entries = matrix.tocoo()
        rows, columns = entries.row.astype(np.int64), entries.col.astype(np.int64)
        self._elimination = elimination_of(rows, columns, matrix.shape[0])  # pyright: ignore[reportOptionalSubscript]
        self._values = entries.data
        diagonal = self._elimination.inverse_diagonal(self._values)
        if diagonal is None:
            raise np.linalg.LinAlgError("the matrix is not positive definite")
        self.diagonal = diagonal

    def norms(self, vectors: np.ndarray) -> np.ndarray:
        """Norms in the inverse of vectors `(n_samples, n)`."""
        solved = self._elimination.solve(np.broadcast_to(self._values, (len(vectors), len(self._values))), vectors)
        return np.sqrt(np.maximum((vectors * solved).sum(axis=1), 0.0))


def _inverse(matrix: csr_array) -> _DenseInverse | _SparseInverse | None:
    size = matrix.shape[0]  # pyright: ignore[reportOptionalSubscript]
    filled = matrix.nnz > _FILLED * size**2
    try:
        if size <= _DENSE or (filled and size <= 4 * _DENSE):
            return _DenseInverse(matrix)
        return None if filled else _SparseInverse(matrix)
    except np.linalg.LinAlgError:
        return None


def _aligned(weights: np.ndarray, law: csr_array | csc_array, voltage: csr_array) -> bool:
    """Whether a slope of each branch adds a positive semidefinite part to the weighted Jacobian."""
    weighted = csr_array(csc_array(weights[:, None] * law).T)
    products = np.asarray(weighted.multiply(voltage).sum(axis=1)).ravel()
    sizes = _row_norms(weighted) * _row_norms(voltage)
    return bool((products >= (1 - _ALIGNED) * sizes).all())


def _row_norms(matrix: csr_array) -> np.ndarray:
    return np.sqrt(np.asarray(matrix.multiply(matrix).sum(axis=1)).ravel())
