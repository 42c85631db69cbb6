"""Kirchhoff's equations of a circuit without the nodes whose voltage is known."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from scipy.sparse import csr_array

from analog_ep.circuit import (
    GROUND,
    Amplifiers,
    Circuit,
    Conductances,
    CurrentSources,
    Diodes,
    NonlinearCurrentSources,
    VoltageControlledCurrentSources,
    VoltageSources,
    energy_weights,
)
from analog_ep.devices import Diode
from analog_ep.equilibrium.assembly import Entries, apply, ends, incidence
from analog_ep.equilibrium.border import Border, is_grounded
from analog_ep.errors import CircuitError


@dataclass(frozen=True)
class Drive:
    """What the inputs of a batch contribute: the part of each affine map that does not depend on the unknowns.

    Attributes
    ----------
    sources : ndarray (n_samples, n_sources + 1)
        Voltages of all independent sources, and a last one of 1 V, by which the amplifiers' offsets enter. [V]
    residual : ndarray (n_samples, n_unknowns)
        Residual at x = 0 without the diodes. [A], border rows [V]
    across : ndarray (n_samples, n_diodes)
        Diode voltages at x = 0. [V]
    outputs : ndarray (n_samples, n_outputs)
        Differential outputs at x = 0. [V]
    control, factor : ndarray (n_samples, n_curved)
        Voltages that control the nonlinear sources, at x = 0. [V]
    """

    sources: np.ndarray
    residual: np.ndarray
    across: np.ndarray
    outputs: np.ndarray
    control: np.ndarray
    factor: np.ndarray

    def select(self, samples: np.ndarray) -> Drive:
        """The drive of some samples."""
        return Drive(**{name: values[samples] for name, values in vars(self).items()})


@dataclass(frozen=True)
class Port:
    """Branches as the unknowns see them.

    Attributes
    ----------
    incidence : csr_array (n_nodes, n_branches)
        N.
    law : csr_array (n_unknowns, n_branches)
        L N: what one ampere through a branch adds to the residual.
    voltage : csr_array (n_branches, n_unknowns)
        Nᵀ A: the voltage across a branch per unknown.
    source_voltage : csr_array (n_branches, n_sources + 1)
        Nᵀ B: the voltage across a branch per source.
    """

    incidence: csr_array
    law: csr_array
    voltage: csr_array
    source_voltage: csr_array


class ReducedSystem:
    r"""The equations F(x) = 0 of a circuit in the unknowns that are left when known voltages are eliminated.

    Nodes held by grounded independent sources and by amplifiers are eliminated. With z the other nodes' voltages, s
    the sources' and T the amplifiers' gains (T[output, input] = ±a),

    .. math:: V = P z + S s + T V \quad\Rightarrow\quad V = A z + B s, \qquad A = (1 - T)^{-1} P .

    An amplifier's offset is ±a times the offset of a last source in s, which has 1 V.

    With D the feedback factors (D[input, output] = ±k), the current that leaves a node through its branches and
    through the amplifiers that it feeds is :math:`(1 - D)^{-1} J`, J that through its branches. Kirchhoff's law at the
    nodes z is L J = 0 with :math:`L = P^T (1 - D)^{-1}`. Both inverses are finite sums, since amplifiers form chains.

    Floating voltage sources, E and H sources, and sources whose current an F or H source refers to keep their current
    c as an unknown and have a row of their own. Then x = (z, c) and

    .. math:: F(x) = M x + m(s) + L N\, i_d(N^T V) - L\, I_{inj}, \qquad
              M = \begin{pmatrix} L Y A & L C \\ K A & H \end{pmatrix}

    with Y the nodal matrix of the conductances and G sources, N the diodes' incidence, C that of the currents c (F
    sources included), and K V + H c the rows of the border. Nonlinear current sources add their currents, which two
    voltages control, as the diodes do theirs. Where the circuit has energy weights w and no border,
    diag(w) L = Aᵀ diag(w), so that the weighted Jacobian is symmetric.

    Parameters
    ----------
    circuit : Circuit
        One that `check_circuit` accepts.

    Attributes
    ----------
    n_voltages, n_unknowns : int
        Sizes of z and x.
    matrix : csr_array (n_unknowns, n_unknowns)
        M.
    expansion, source_expansion : csr_array
        A, with zero columns for c, `(n_nodes, n_unknowns)`; B `(n_nodes, n_sources + 1)`.
    law : csr_array (n_unknowns, n_nodes)
        L, with zero rows for the border.
    diodes, outputs, curved : Port
        The diodes, anode to cathode, the differential outputs, v₊ to v₋, and the nonlinear current sources.
    control, factor : Port
        The voltages to ground that control the nonlinear sources; that of a source without a factor is empty.
    devices : tuple of (slice, Diode)
        The diodes' models and their places among the diodes.
    magnitudes : tuple of csr_array
        |M|, |L N| of the diodes, of the outputs and of the nonlinear sources.
    weights : ndarray (n_unknowns,) or None
        Energy weight of each row; None without an energy or with a border.
    is_passive : bool
        Whether no conductance is negative.
    output_weights : ndarray (2, n_outputs) or None
        Energy weights of v₊ and v₋; None without an energy.
    """

    def __init__(self, circuit: Circuit):
        n_nodes = circuit.n_nodes
        self._groups = circuit.of_kind(VoltageSources)
        border = Border(circuit)
        free, held, gains, feedback = _eliminate(circuit, border.controlling)
        self._free = free
        self.n_voltages, self.n_unknowns = len(free), len(free) + border.size
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
        self._source_law = csr_array((self.law @ nodal + rows) @ self.source_expansion - embed @ border.sources)
        self._constant = self.law @ current
        diodes = circuit.of_kind(Diodes)
        self.diodes = self.port([ends(group) for group in diodes])
        self.devices = _devices(diodes)
        self.outputs = self.port([] if circuit.outputs is None else [circuit.outputs])
        self._curved_groups = circuit.of_kind(NonlinearCurrentSources)
        self.curved = self.port([ends(group) for group in self._curved_groups])
        self.control = self.port([_to_ground(group.control) for group in self._curved_groups])
        self.factor = self.port([_to_ground(group.factor) for group in self._curved_groups])
        self._no_factor = np.concatenate([np.zeros(0, bool), *(group.factor < 0 for group in self._curved_groups)])
        self.magnitudes = abs(self.matrix), abs(self.diodes.law), abs(self.outputs.law), abs(self.curved.law)
        weights = energy_weights(circuit).nodes
        self.weights = None if weights is None or border.size else weights[free]
        self.is_passive = all((group.siemens >= 0).all() for group in circuit.of_kind(Conductances))
        self.output_weights = None
        if weights is not None and circuit.outputs is not None:
            self.output_weights = weights[np.stack(circuit.outputs)]

    def port(self, pairs: list[tuple[np.ndarray, np.ndarray]]) -> Port:
        """Branches between pairs of nodes, each given as the arrays of the first and the second nodes."""
        branches = incidence(pairs, self.law.shape[1])  # pyright: ignore[reportOptionalSubscript]
        across = _transposed(branches)
        return Port(
            branches,
            csr_array(self.law @ branches),
            csr_array(across @ self.expansion),
            csr_array(across @ self.source_expansion),
        )

    def drive(self, inputs: np.ndarray) -> Drive:
        """The constants of a batch of inputs `(n_samples, n_inputs)`."""
        one = np.ones((len(inputs), 1))
        sources = np.concatenate([*(group.source_values(inputs) for group in self._groups), one], axis=1)
        return Drive(
            sources,
            apply(self._source_law, sources) + self._constant,
            apply(self.diodes.source_voltage, sources),
            apply(self.outputs.source_voltage, sources),
            apply(self.control.source_voltage, sources),
            np.where(self._no_factor, 1.0, apply(self.factor.source_voltage, sources)),
        )

    def node_voltages(self, unknowns: np.ndarray, drive: Drive) -> np.ndarray:
        """V = A z + B s, `(n_samples, n_nodes)`. [V]"""
        return apply(self.expansion, unknowns) + apply(self.source_expansion, drive.sources)

    def unknowns(self, voltages: np.ndarray) -> np.ndarray:
        """Unknowns of given node voltages `(n_samples, n_nodes)`, with zero currents c."""
        currents = np.zeros((len(voltages), self.n_unknowns - self.n_voltages))
        return np.concatenate([voltages[:, self._free], currents], axis=1)

    def curved_state(self, unknowns: np.ndarray, drive: Drive) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Currents [A] of the nonlinear sources and their slopes [S] by control and factor, `(n_samples, n_curved)`."""
        control = apply(self.control.voltage, unknowns) + drive.control
        factor = apply(self.factor.voltage, unknowns) + drive.factor
        states, first = [(control[:, :0],) * 3], 0
        for group in self._curved_groups:
            place = slice(first, first := first + len(group))
            states.append(group.currents(control[:, place], factor[:, place]))
        current, by_control, by_factor = (np.concatenate(parts, axis=1) for parts in zip(*states, strict=True))
        return current, by_control, by_factor

    def require_linear_sources(self, who: str) -> None:
        """Raise `CircuitError` if there are nonlinear sources, which `who` does not follow."""
        if self._curved_groups:
            raise CircuitError(
                f"{who} follows no nonlinear current sources, found {self._curved_groups[0].label}; use ngspice"
            )

    def diode_state(self, voltages: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Diode currents [A] and conductances [S] at diode voltages `(n_samples, n_diodes)` [V]."""
        current, conductance = np.empty_like(voltages), np.empty_like(voltages)
        for place, device in self.devices:
            across = torch.from_numpy(np.ascontiguousarray(voltages[:, place]))
            current[:, place] = device.current(across).numpy()
            conductance[:, place] = device.conductance(across).numpy()
        return current, conductance


def _eliminate(
    circuit: Circuit, controlling: dict[str, np.ndarray]
) -> tuple[np.ndarray, csr_array, csr_array, csr_array]:
    """The free nodes, and the matrices S, T and D of `ReducedSystem`."""
    n_nodes, n_sources = circuit.n_nodes, 0
    one_volt = sum(len(group) for group in circuit.of_kind(VoltageSources))
    free = np.ones(n_nodes, dtype=bool)
    free[GROUND] = False
    held, gains, feedback = Entries(), Entries(), Entries()
    for group in circuit.groups:
        if isinstance(group, VoltageSources):
            element = np.flatnonzero(is_grounded(group) & ~controlling[group.label])
            reversed_ = group.positive[element] == GROUND
            node = np.where(reversed_, group.negative[element], group.positive[element])
            held.put(node, n_sources + element, np.where(reversed_, -1.0, 1.0))
            free[node] = False
            n_sources += len(group)
        elif isinstance(group, Amplifiers):
            element, node, sign = group.outputs()
            gains.put(node, group.input[element], sign * group.gain[element])
            held.put(node, np.full_like(node, one_volt), sign * (group.gain * group.offset)[element])
            feedback.put(group.input[element], node, sign * group.feedback[element])
            free[node] = False
    square = (n_nodes, n_nodes)
    return np.flatnonzero(free), held.matrix((n_nodes, one_volt + 1)), gains.matrix(square), feedback.matrix(square)


def _chained(links: csr_array, start: csr_array) -> csr_array:
    """(1 − links)⁻¹ start, as the sum over chains."""
    total = term = start
    while (term := csr_array(links @ term)).nnz:
        total = total + term
    return csr_array(total)


def _nodal(circuit: Circuit) -> tuple[csr_array, np.ndarray]:
    """Nodal matrix Y, and the currents that independent sources draw from the nodes."""
    entries, current = Entries(), np.zeros(circuit.n_nodes)
    for group in circuit.groups:
        if isinstance(group, Conductances):
            _put_transconductance(entries, ends(group), ends(group), group.siemens)
        elif isinstance(group, VoltageControlledCurrentSources):
            control = (group.control_positive, group.control_negative)
            _put_transconductance(entries, ends(group), control, group.gain)
        elif isinstance(group, CurrentSources):
            np.add.at(current, group.positive, group.amperes)
            np.add.at(current, group.negative, -group.amperes)
    return entries.matrix((circuit.n_nodes, circuit.n_nodes)), current


def _put_transconductance(
    entries: Entries,
    nodes: tuple[np.ndarray, np.ndarray],
    control: tuple[np.ndarray, np.ndarray],
    siemens: np.ndarray,
) -> None:
    for node, sign in zip(nodes, (1.0, -1.0), strict=True):
        entries.put(node, control[0], sign * siemens)
        entries.put(node, control[1], -sign * siemens)


def _to_ground(nodes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Pairs whose voltage is that of the nodes; 0 V where there is none."""
    return np.maximum(nodes, GROUND), np.full_like(nodes, GROUND)


def _devices(groups: list[Diodes]) -> tuple[tuple[slice, Diode], ...]:
    bounds = np.cumsum([0, *(len(group) for group in groups)])
    return tuple((slice(bounds[i], bounds[i + 1]), group.device) for i, group in enumerate(groups))


def _embedding(n_voltages: int, size: int) -> csr_array:
    """Places border rows after the rows of the nodes."""
    own = np.arange(size)
    return csr_array((np.ones(size), (n_voltages + own, own)), shape=(n_voltages + size, size))


def _transposed(matrix: csr_array) -> csr_array:
    return csr_array(matrix.T)
