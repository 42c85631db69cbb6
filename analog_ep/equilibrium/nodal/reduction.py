"""Kirchhoff's equations of a circuit without the nodes whose voltage is known."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np
from scipy.sparse import csc_array, csr_array

from analog_ep.circuit import GROUND, Circuit, CurrentLaw, VoltageLaw, check_circuit, energy_weights
from analog_ep.equilibrium.nodal.assembly import Entries, apply, incidence
from analog_ep.equilibrium.nodal.ends import Ends
from analog_ep.equilibrium.nodal.inertia import inertia
from analog_ep.equilibrium.nodal.source_currents import Border, eliminated, put_sources

_HIGHEST_CAP = 32.0
"""Growth voltages, beyond the first, up to which an exponential is followed at first: it stays harmless."""


@dataclass(frozen=True)
class Drive:
    """What the inputs of a batch contribute: the part of each affine map that does not depend on the unknowns.

    Attributes
    ----------
    sources : ndarray (n_samples, n_inputs + 1)
        The inputs, and a last one of 1 V, by which all constant voltages enter. [V]
    residual : ndarray (n_samples, n_unknowns)
        Residual at x = 0 without the nonlinear branches. [A], border rows [V]
    nodes : ndarray (n_samples, n_nodes)
        Node voltages at x = 0. [V]
    outputs : ndarray (n_samples, n_outputs)
        Differential outputs at x = 0. [V]
    """

    sources: np.ndarray
    residual: np.ndarray
    nodes: np.ndarray
    outputs: np.ndarray

    def select(self, samples: np.ndarray) -> Drive:
        """The drive of some samples."""
        return Drive(**{name: values[samples] for name, values in vars(self).items()})


@dataclass(frozen=True)
class NonlinearGroup:
    """Where the elements of one nonlinear current law stand among all.

    Attributes
    ----------
    law : CurrentLaw
        Their law.
    branches : slice
        Among the nonlinear branches.
    controls : tuple of slice
        Among the controls, one slice for each control of an element.
    """

    law: CurrentLaw
    branches: slice
    controls: tuple[slice, ...]


@dataclass(frozen=True)
class Port:
    """Branches as the unknowns see them.

    Attributes
    ----------
    ends : Ends
        Their nodes.
    incidence : csr_array (n_nodes, n_branches)
        N.
    law : csr_array (n_unknowns, n_branches)
        L N: what one ampere through a branch adds to the residual.
    voltage : csr_array (n_branches, n_unknowns)
        Nᵀ A: the voltage across a branch per unknown.
    source_voltage : csr_array (n_branches, n_inputs + 1)
        Nᵀ B: the voltage across a branch per source.
    """

    ends: Ends
    incidence: csr_array
    law: csr_array
    voltage: csr_array
    source_voltage: csr_array


class ReducedSystem:
    r"""The equations F(x) = 0 of a circuit in the unknowns that are left when known voltages are eliminated.

    Nodes held by grounded independent sources and by amplifiers are eliminated (`border.eliminated`). With z the other
    nodes' voltages, s the inputs and a constant 1 V, and T the amplifiers' gains (T[output, input] = ±a),

    .. math:: V = P z + S s + T V \quad\Rightarrow\quad V = A z + B s, \qquad A = (1 - T)^{-1} P .

    S holds the sources' scales and constants and, for an amplifier with an offset, ±a times that.

    With D the feedback factors (D[input, output] = ±k), the current that leaves a node through its branches and
    through the amplifiers that it feeds is :math:`(1 - D)^{-1} J`, J that through its branches. Kirchhoff's law at the
    nodes z is L J = 0 with :math:`L = P^T (1 - D)^{-1}`. Both inverses are finite sums, since amplifiers form chains.

    Floating voltage sources, E and H sources, and sources whose current an F or H source refers to keep their current
    c as an unknown and have a row of their own. Then x = (z, c) and

    .. math:: F(x) = M x + m(s) + L N\, i(U^T V) - L\, I_{inj}, \qquad
              M = \begin{pmatrix} L Y A & L C \\ K A & H \end{pmatrix}

    with Y the nodal matrix of the linear current laws, N the incidence of the nonlinear ones and U that of the node
    pairs whose voltages control them (a diode's is its own: one column in both), C that of the currents c (what follows
    them included), and K V + H c the rows of the border. Where the circuit has energy weights w and no border,
    diag(w) L = Aᵀ diag(w), so that the weighted Jacobian is symmetric.

    Parameters
    ----------
    circuit : Circuit
        One that `check_circuit` accepts.

    Attributes
    ----------
    n_voltages, n_unknowns, n_nonlinear : int
        Sizes of z and x, and number of nonlinear branches.
    current_unknowns : dict of str to ndarray (n_rows,)
        Which unknown is the current of each row of a voltage law, by its label; of rows that are eliminated none.
    matrix : csr_array (n_unknowns, n_unknowns)
        M.
    source_law : csr_array (n_unknowns, n_inputs + 1)
        What the sources add to the residual, m(s).
    expansion, source_expansion : csr_array
        A, with zero columns for c, `(n_nodes, n_unknowns)`; B `(n_nodes, n_inputs + 1)`.
    law : csr_array (n_unknowns, n_nodes)
        L, with zero rows for the border.
    inertia, source_inertia : csr_array
        What stores energy, see `analog_ep.equilibrium.nodal.inertia`; without entries where nothing does.
    nonlinear, outputs : Port
        The currents of the nonlinear branches, first to second end, and the differential outputs, v₊ to v₋.
    controls : Port
        The voltages that control the nonlinear branches, group by group, control by control.
    controlled : ndarray (n_controls,)
        The nonlinear branch that each of them controls.
    groups : tuple of NonlinearGroup
        The nonlinear laws and their places.
    growth : ndarray (n_controls,)
        Rise of each control that multiplies a current by e, infinite where slopes are bounded. [V]
    magnitudes : tuple of csr_array
        |M|, |L|, and |L N| of the outputs.
    weights : ndarray (n_unknowns,) or None
        Energy weight of each row; None without an energy or with a border.
    is_passive : bool
        Whether no current falls while the voltage across its branch rises.
    has_holes : bool
        Whether a law may have no value at some voltages.
    output_weights : ndarray (2, n_outputs) or None
        Energy weights of v₊ and v₋; None without an energy.
    patterns : dict
        Where Jacobians have entries, see `jacobian_of`.
    """

    def __init__(self, circuit: Circuit):
        n_nodes = circuit.n_nodes
        border = Border(circuit)
        free, held, gains, feedback = _eliminate(circuit)
        self._free = free
        self.n_voltages, self.n_unknowns = len(free), len(free) + border.size
        self.current_unknowns = {label: len(free) + places for label, places in border.places.items()}
        select = csr_array((np.ones(len(free)), (free, np.arange(len(free)))), shape=(n_nodes, self.n_unknowns))
        self.expansion, self.source_expansion = _chained(gains, select), _chained(gains, held)
        self.law = _transposed(_chained(_transposed(feedback), select))
        nodal, current = _nodal(circuit)
        embed = _embedding(self.n_voltages, border.size)
        rows = embed @ border.rows
        self.matrix = csr_array(
            (self.law @ nodal + rows) @ self.expansion
            + (self.law @ border.columns + embed @ border.currents) @ _transposed(embed)
        )
        self.source_law = csr_array((self.law @ nodal + rows) @ self.source_expansion - embed @ border.sources)
        self._constant = self.law @ current
        self.groups = _nonlinear_groups(circuit)
        self.nonlinear = self.port([group.law.ends() for group in self.groups])
        self.controls = self.port([pair for group in self.groups for pair in group.law.controls()])
        self.controlled = _controlled(self.groups)
        self.n_nonlinear = sum(len(group.law) for group in self.groups)
        self.growth = _growth(self.groups, len(self.controlled))
        self.outputs = self.port([] if circuit.outputs is None else [circuit.outputs])
        self.magnitudes = abs(self.matrix), abs(self.law), abs(self.outputs.law)
        self.inertia, self.source_inertia = inertia(circuit, self)
        weights = energy_weights(circuit).nodes
        self.weights = None if weights is None or border.size else weights[free]
        self.is_passive = all(group.is_monotone() for group in circuit.of_kind(CurrentLaw) if group.controls())
        self.has_holes = not all(group.law.is_defined_everywhere for group in self.groups)
        self.patterns: dict[tuple[bool, bool], Any] = {}
        self.output_weights = None
        if weights is not None and circuit.outputs is not None:
            self.output_weights = weights[np.stack(circuit.outputs)]

    def with_laws(self, circuit: Circuit) -> ReducedSystem:
        """The equations of a circuit that differs in the laws of nonlinear branches alone, see `differs_in_laws`."""
        system = copy.copy(self)
        system.__dict__.pop("first_caps", None)
        system.groups = _nonlinear_groups(circuit)
        system.growth = _growth(system.groups, len(system.controlled))
        return system

    def port(self, pairs: list[tuple[np.ndarray, np.ndarray]]) -> Port:
        """Branches between pairs of nodes, each given as the arrays of the first and the second nodes."""
        n_nodes = self.law.shape[1]  # pyright: ignore[reportOptionalSubscript]
        branches = incidence(pairs, n_nodes)
        across = _transposed(branches)
        return Port(
            Ends.of(pairs, n_nodes),
            branches,
            csr_array(self.law @ branches),
            csr_array(across @ self.expansion),
            csr_array(across @ self.source_expansion),
        )

    def drive(self, inputs: np.ndarray) -> Drive:
        """The constants of a batch of inputs `(n_samples, n_inputs)`."""
        sources = np.concatenate([inputs, np.ones((len(inputs), 1))], axis=1)
        return Drive(
            sources,
            apply(self.source_law, sources) + self._constant,
            apply(self.source_expansion, sources),
            apply(self.outputs.source_voltage, sources),
        )

    def node_voltages(self, unknowns: np.ndarray, drive: Drive) -> np.ndarray:
        """V = A z + B s, `(n_samples, n_nodes)`. [V]"""
        return apply(self.expansion, unknowns) + drive.nodes

    def unknowns(self, voltages: np.ndarray) -> np.ndarray:
        """Unknowns of given node voltages `(n_samples, n_nodes)`, with zero currents c."""
        currents = np.zeros((len(voltages), self.n_unknowns - self.n_voltages))
        return np.concatenate([voltages[:, self._free], currents], axis=1)

    def control_voltages(self, voltages: np.ndarray) -> np.ndarray:
        """What controls the nonlinear branches at node voltages `(n_samples, n_nodes)`. [V]"""
        return self.controls.ends.across(voltages)

    def into_unknowns(self, currents: np.ndarray) -> np.ndarray:
        """What currents of the nonlinear branches `(n_samples, n_nonlinear)` add to F, L N i. [A]"""
        return apply(self.law, self.nonlinear.ends.outflow(currents))

    def sizes_at_unknowns(self, values: np.ndarray) -> np.ndarray:
        """Sum of the magnitudes in `into_unknowns`, arguments and shape as there."""
        return apply(self.magnitudes[1], self.nonlinear.ends.magnitudes(values))

    @cached_property
    def first_caps(self) -> np.ndarray:
        """Voltages `(n_controls,)` up to which exponentials are followed from 0 V; infinite where slopes are bounded.

        That is where the slope of one comes to all that there is at its end when the circuit is at rest, but one growth
        voltage at least: up to there it leads no step astray. SPICE has a junction's critical voltage for this. [V]
        """
        some = np.isfinite(self.growth)
        if not some.any():
            return self.growth
        unit, low = np.where(some, self.growth, 0.0), np.ones(len(some))
        with np.errstate(all="ignore"):
            least = self._stiffness(self.currents(np.zeros((1, len(some))))[1][0])
            # By bisection, to one growth voltage.
            for half in 0.5 ** np.arange(1, 6):
                middle = low + half * _HIGHEST_CAP
                low = np.where(self.currents((middle * unit)[None])[1][0] <= least, middle, low)
        return np.where(some, low * self.growth, np.inf)

    def _stiffness(self, slopes: np.ndarray) -> np.ndarray:
        """Least diagonal entry of the Jacobian at the ends of each control, `(n_controls,)`, for slopes of them. [S]"""
        at_node = np.full(self.law.shape[1], np.inf)  # pyright: ignore[reportOptionalSubscript, reportArgumentType]
        at_node[self._free] = np.abs(self.matrix.diagonal() + self._own_slopes @ slopes)[: self.n_voltages]
        ends = self.controls.ends
        return np.minimum(at_node[ends.first], at_node[ends.second])

    @cached_property
    def _own_slopes(self) -> csr_array:
        """What each control's slope adds to the diagonal of the Jacobian, `(n_unknowns, n_controls)`."""
        by_control = csr_array(csc_array(self.nonlinear.law)[:, self.controlled])
        return csr_array(by_control.multiply(self.controls.voltage.T))

    def currents(self, volts: np.ndarray, caps: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray]:
        """Currents `(n_samples, n_nonlinear)` [A] and slopes `(n_samples, n_controls)` [S] of the nonlinear branches.

        Parameters
        ----------
        volts : ndarray (n_samples, n_controls)
            Voltages of the controls. [V]
        caps : ndarray (n_samples, n_controls), optional
            Voltages beyond which a current goes on along its tangent. [V]
        """
        if caps is not None and not (volts > caps).any():
            caps = None
        bounded = volts if caps is None else np.minimum(volts, caps)
        current, slopes = np.empty((len(volts), self.n_nonlinear)), np.empty_like(volts)
        for group in self.groups:
            at = [np.ascontiguousarray(bounded[:, place]) for place in group.controls]
            amperes, rises = group.law.current_and_slopes(*at)
            for place, slope, here in zip(group.controls, rises, at, strict=True):
                slopes[:, place] = slope
                if caps is not None:
                    # Where a law has a hole, its slope is infinite; Newton's status tells of what comes out.
                    with np.errstate(over="ignore", invalid="ignore"):
                        amperes = amperes + slope * (volts[:, place] - here)
            current[:, group.branches] = amperes
        return current, slopes


def _eliminate(circuit: Circuit) -> tuple[np.ndarray, csr_array, csr_array, csr_array]:
    """The free nodes, and the matrices S, T and D of `ReducedSystem`."""
    n_nodes, n_inputs = circuit.n_nodes, circuit.n_inputs
    free = np.ones(n_nodes, dtype=bool)
    free[GROUND] = False
    held, gains, feedback = Entries(), Entries(), Entries()
    for group in circuit.of_kind(VoltageLaw):
        rows = group.rows()
        chosen = np.flatnonzero(eliminated(circuit, group.label, rows))
        reversed_ = rows.positive[chosen] == GROUND
        node = np.where(reversed_, rows.negative[chosen], rows.positive[chosen])
        sign = np.where(reversed_, -1.0, 1.0)
        put_sources(held, node, rows, chosen, sign, n_inputs)
        free[node] = False
        if rows.control is not None and rows.gain is not None:
            for control, side in zip(rows.control, (1.0, -1.0), strict=True):
                gains.put(node, control[chosen], side * sign * rows.gain[chosen])
        if rows.drawn_from is not None and rows.feedback is not None:
            feedback.put(rows.drawn_from[chosen], node, rows.feedback[chosen])
    square = (n_nodes, n_nodes)
    return np.flatnonzero(free), held.matrix((n_nodes, n_inputs + 1)), gains.matrix(square), feedback.matrix(square)


def _chained(links: csr_array, start: csr_array) -> csr_array:
    """(1 − links)⁻¹ start, as the sum over chains."""
    # Neumann's series 1 + X + X² + …: it ends, since amplifiers are in no ring and X is nilpotent.
    total = term = start
    while (term := csr_array(links @ term)).nnz:
        total = total + term
    return csr_array(total)


def _nodal(circuit: Circuit) -> tuple[csr_array, np.ndarray]:
    """Nodal matrix Y, and the currents that independent sources draw from the nodes."""
    entries, current = Entries(), np.zeros(circuit.n_nodes)
    for group in circuit.of_kind(CurrentLaw):
        if not group.linear:
            continue
        ends, controls = group.ends(), group.controls()
        none = [np.zeros(len(group))] * len(controls)
        for node, sign in zip(ends, (1.0, -1.0), strict=True):
            np.add.at(current, node, sign * group.current(*none))
            # i = i_0 + Σ g_k (v_first − v_second) leaves the first end and enters the second.
            for (first, second), slope in zip(controls, group.slopes(*none), strict=True):
                entries.put(node, first, sign * slope)
                entries.put(node, second, -sign * slope)
    return entries.matrix((circuit.n_nodes, circuit.n_nodes)), current


def _nonlinear_groups(circuit: Circuit) -> tuple[NonlinearGroup, ...]:
    found, branch, control = [], 0, 0
    for group in circuit.of_kind(CurrentLaw):
        if group.linear:
            continue
        bounds = control + len(group) * np.arange(len(group.controls()) + 1)
        controls = tuple(slice(*pair) for pair in pairwise(bounds.tolist()))
        found.append(NonlinearGroup(group, slice(branch, branch + len(group)), controls))
        branch, control = branch + len(group), int(bounds[-1])
    return tuple(found)


def _controlled(groups: tuple[NonlinearGroup, ...]) -> np.ndarray:
    branches = [np.arange(group.branches.start, group.branches.stop) for group in groups for _ in group.controls]
    return np.concatenate([np.zeros(0, np.int64), *branches])


def _growth(groups: tuple[NonlinearGroup, ...], n_controls: int) -> np.ndarray:
    growth = np.full(n_controls, np.inf)
    for group in groups:
        for place, volts in zip(group.controls, group.law.growth_voltages() or (), strict=False):
            growth[place] = volts
    return growth


def _embedding(n_voltages: int, size: int) -> csr_array:
    """Places border rows after the rows of the nodes."""
    own = np.arange(size)
    return csr_array((np.ones(size), (n_voltages + own, own)), shape=(n_voltages + size, size))


def _transposed(matrix: csr_array) -> csr_array:
    return csr_array(matrix.T)


def differs_in_laws(circuit: Circuit) -> bool:
    """Whether a circuit is its `origin` but for what nonlinear branches carry: their nodes and all else are the same.

    So are the circuits of gate voltages that learn, from one step to the next.
    """
    origin = circuit.origin
    if origin is None or circuit.node_names is not origin.node_names or circuit.outputs is not origin.outputs:
        return False
    own, its = circuit.of_kind(CurrentLaw), origin.of_kind(CurrentLaw)
    if len(circuit.parts) != len(origin.parts) or len(own) != len(its):
        return False
    if not all(mine is other or _differs_in_law(mine, other) for mine, other in zip(own, its, strict=True)):
        return False
    currents = {id(group) for group in own}
    return all(mine is other or id(mine) in currents for mine, other in zip(circuit.parts, origin.parts, strict=True))


def _differs_in_law(own: CurrentLaw, other: CurrentLaw) -> bool:
    if type(own) is not type(other) or own.linear or len(own) != len(other):
        return False
    pairs = zip([own.ends(), *own.controls()], [other.ends(), *other.controls()], strict=True)
    return (
        all(np.array_equal(mine, its) for pair in pairs for mine, its in zip(*pair, strict=True))
        and own.is_monotone() == other.is_monotone()
        and own.irreciprocity() == other.irreciprocity()
        and own.is_defined_everywhere == other.is_defined_everywhere
    )


_SYSTEMS: WeakKeyDictionary[Circuit, ReducedSystem] = WeakKeyDictionary()
_ORIGINS: WeakKeyDictionary[Circuit, ReducedSystem] = WeakKeyDictionary()
"""Of circuits that need not be sound, as others with their nodes may be."""


def reduced_system(circuit: Circuit) -> ReducedSystem:
    """The reduced equations of a circuit, checked and formed once for each circuit."""
    if circuit not in _SYSTEMS:
        check_circuit(circuit)
        shared = system_of_origin(circuit)
        _SYSTEMS[circuit] = ReducedSystem(circuit) if shared is None else shared.with_laws(circuit)
    return _SYSTEMS[circuit]


def system_of_origin(circuit: Circuit) -> ReducedSystem | None:
    """The equations of what a circuit differs from in laws alone, not checked; None where it differs in more."""
    origin = circuit.origin
    if origin is None or not differs_in_laws(circuit):
        return None
    if origin not in _ORIGINS:
        _ORIGINS[origin] = ReducedSystem(origin)
    return _ORIGINS[origin]
