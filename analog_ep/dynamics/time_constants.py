"""How slowly a circuit with node capacitances comes to rest."""

from __future__ import annotations

import numpy as np
from scipy.linalg import eigvals

from analog_ep.circuit import GROUND, ChargeLaw, Circuit, CurrentLaw, FluxLaw
from analog_ep.equilibrium.nodal.equations import Equations
from analog_ep.equilibrium.nodal.jacobian import jacobian_of
from analog_ep.equilibrium.nodal.reduction import reduced_system
from analog_ep.errors import CircuitError, ConvergenceError

MOST_UNKNOWNS = 3000
"""Unknowns up to which eigenvalues are computed."""


def slowest_time_constant(circuit: Circuit, inputs: np.ndarray, voltages: np.ndarray) -> float:
    r"""Longest time constant of the circuit linearised at given states: 1/λ of :math:`J x = \lambda C x`. [s]

    Parameters
    ----------
    circuit : Circuit
        With capacitors from nodes to ground.
    inputs : ndarray (n_samples, n_inputs)
        Inputs. [V]
    voltages : ndarray (n_samples, n_nodes)
        States, the equilibria or others. [V]

    Raises
    ------
    CircuitError
        If a capacitor is not grounded, there is none, or the circuit has more than 3000 unknowns.
    ConvergenceError
        If a state does not attract its neighbours: nothing settles there.
    """
    if circuit.of_kind(FluxLaw):
        raise CircuitError(
            f"time constants need a circuit without inductors, found some in {circuit.title!r}; follow its transient"
        )
    system = reduced_system(circuit)
    if system.n_unknowns > MOST_UNKNOWNS:
        raise CircuitError(
            f"time constants need at most {MOST_UNKNOWNS} unknowns, found {system.n_unknowns}; give the durations "
            "yourself"
        )
    equations = Equations.of(system, inputs, None, None)
    unknowns = system.unknowns(voltages)
    state = equations.at(unknowns)
    jacobian = jacobian_of(system, False, equations.is_reciprocal)
    capacitance = np.diag(_grounded(circuit, system.unknowns(np.arange(circuit.n_nodes)[None])[0], system.n_voltages))
    slowest = 0.0
    for matrix in jacobian.dense(jacobian.values(state.slopes)).numpy():
        # Of the pair turned around, nodes without a capacitor have the eigenvalue 0, where λ would be infinite.
        constants = np.asarray(eigvals(capacitance, matrix, overwrite_a=False))
        if np.real(constants).min() < -1e-9 * np.abs(constants).max():
            raise ConvergenceError("the circuit must settle, found a state that drifts away; look at its gains")
        slowest = max(slowest, float(np.real(constants).max()))
    return slowest


def slowest_node(circuit: Circuit) -> float:
    """Largest C/g over the nodes, with their linear conductances alone. [s]"""
    farads, siemens = np.zeros(circuit.n_nodes), np.zeros(circuit.n_nodes)
    resistors = [group for group in circuit.of_kind(CurrentLaw) if group.linear and group.is_two_terminal]
    for group, total, values in [
        *((group, farads, group.capacitances()) for group in circuit.of_kind(ChargeLaw)),
        *((group, siemens, group.slopes(np.zeros(len(group)))[0]) for group in resistors),
    ]:
        for nodes in group.ends():
            total += np.bincount(nodes, values, minlength=circuit.n_nodes)
    own = (farads > 0) & (siemens > 0) & (np.arange(circuit.n_nodes) > 0)
    return float((farads[own] / siemens[own]).max(initial=1e-12))


def _grounded(circuit: Circuit, nodes: np.ndarray, n_voltages: int) -> np.ndarray:
    """Capacitance of each unknown, 0 for those that are no voltages. [F]"""
    groups = circuit.of_kind(ChargeLaw)
    if not any(len(group) for group in groups):
        raise CircuitError(f"time constants need capacitors, found none in {circuit.title!r}")
    farads = np.zeros(circuit.n_nodes)
    for group in groups:
        first, second = group.ends()
        if not ((first == GROUND) | (second == GROUND)).all():
            raise CircuitError(f"{group.label}: time constants need capacitors to ground, found one between two nodes")
        np.add.at(farads, np.maximum(first, second), group.capacitances())
    total = farads[nodes.astype(np.int64)]
    total[n_voltages:] = 0.0
    return total
