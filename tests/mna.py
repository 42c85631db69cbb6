"""Modified nodal analysis of any circuit by a dense damped Newton: the truth that netlists are compared with."""

import numpy as np
import torch

from analog_ep.circuit import (
    Amplifiers,
    Circuit,
    Conductances,
    CurrentControlledCurrentSources,
    CurrentControlledVoltageSources,
    CurrentSources,
    Diodes,
    VoltageControlledCurrentSources,
    VoltageControlledVoltageSources,
    VoltageSources,
)


def solve_mna(circuit: Circuit, inputs: np.ndarray, nudge_current=None) -> np.ndarray:
    """Node voltages `(n_nodes,)`; `nudge_current(outputs)` gives currents into v₊ and their Jacobian."""
    matrix, right, diodes = _linear_part(circuit, np.asarray(inputs, dtype=float))
    x = np.zeros(len(right))
    for _ in range(3000):
        residual, jacobian = matrix @ x - right, matrix.copy()
        for group in diodes:
            across = torch.from_numpy(x[group.anode] - x[group.cathode])
            current, slope = group.device.current(across).numpy(), group.device.conductance(across).numpy()
            _stamp_current(residual, group.anode, group.cathode, current)
            for a, k, g in zip(group.anode, group.cathode, slope, strict=True):
                jacobian[[a, a, k, k], [a, k, a, k]] += [g, -g, -g, g]
        if nudge_current is not None:
            assert circuit.outputs is not None
            positive, negative = circuit.outputs
            current, slope = nudge_current(x[positive] - x[negative])
            _stamp_current(residual, negative, positive, current)
            for i, (p, n) in enumerate(zip(positive, negative, strict=True)):
                for j, (q, m) in enumerate(zip(positive, negative, strict=True)):
                    jacobian[[n, n, p, p], [q, m, q, m]] += slope[i, j] * np.array([1, -1, -1, 1])
        step = np.zeros_like(x)
        step[1:] = np.linalg.solve(jacobian[1:, 1:], -residual[1:])
        largest = np.abs(step[: circuit.n_nodes]).max()
        x += step * min(1.0, 0.05 / max(largest, 1e-300)) if diodes else step
        if largest < 1e-14:
            return x[: circuit.n_nodes]
    raise AssertionError(f"the reference did not converge: last step {largest}")


def _linear_part(circuit: Circuit, inputs: np.ndarray) -> tuple[np.ndarray, np.ndarray, list[Diodes]]:
    branch: dict[str, np.ndarray] = {}
    size = circuit.n_nodes
    for group in circuit.groups:
        count = len(group.outputs()[1]) if isinstance(group, Amplifiers) else len(group)
        if isinstance(
            group,
            (VoltageSources, VoltageControlledVoltageSources, CurrentControlledVoltageSources, Amplifiers),
        ):
            branch[group.label] = np.arange(size, size + count)
            size += count
    matrix, right = np.zeros((size, size)), np.zeros(size)
    for group in circuit.groups:
        if isinstance(group, Conductances):
            for p, n, g in zip(group.positive, group.negative, group.siemens, strict=True):
                matrix[[p, p, n, n], [p, n, p, n]] += [g, -g, -g, g]
        elif isinstance(group, CurrentSources):
            _stamp_current(right, group.negative, group.positive, group.amperes)
        elif isinstance(group, VoltageSources):
            right[branch[group.label]] = group.source_values(inputs)
            _stamp_voltage(matrix, group.positive, group.negative, branch[group.label])
        elif isinstance(group, VoltageControlledVoltageSources):
            rows = branch[group.label]
            _stamp_voltage(matrix, group.positive, group.negative, rows)
            np.add.at(matrix, (rows, group.control_positive), -group.gain)
            np.add.at(matrix, (rows, group.control_negative), group.gain)
        elif isinstance(group, CurrentControlledVoltageSources):
            rows = branch[group.label]
            _stamp_voltage(matrix, group.positive, group.negative, rows)
            np.add.at(matrix, (rows, branch[group.control_label][group.control]), -group.gain)
        elif isinstance(group, VoltageControlledCurrentSources):
            for p, n, cp, cn, g in zip(
                group.positive, group.negative, group.control_positive, group.control_negative, group.gain, strict=True
            ):
                matrix[[p, p, n, n], [cp, cn, cp, cn]] += [g, -g, -g, g]
        elif isinstance(group, CurrentControlledCurrentSources):
            columns = branch[group.control_label][group.control]
            np.add.at(matrix, (group.positive, columns), group.gain)
            np.add.at(matrix, (group.negative, columns), -group.gain)
        elif isinstance(group, Amplifiers):
            element, nodes, sign = group.outputs()
            rows = branch[group.label]
            _stamp_voltage(matrix, nodes, np.zeros_like(nodes), rows)
            np.add.at(matrix, (rows, group.input[element]), -sign * group.gain[element])
            right[rows] = sign * (group.gain * group.offset)[element]
            # The unknown is the current into the output's source; what leaves the output is its negative.
            np.add.at(matrix, (group.input[element], rows), -sign * group.feedback[element])
    return matrix, right, circuit.of_kind(Diodes)


def _stamp_current(vector: np.ndarray, positive: np.ndarray, negative: np.ndarray, current: np.ndarray) -> None:
    np.add.at(vector, positive, current)
    np.add.at(vector, negative, -current)


def _stamp_voltage(matrix: np.ndarray, positive: np.ndarray, negative: np.ndarray, rows: np.ndarray) -> None:
    np.add.at(matrix, (rows, positive), 1.0)
    np.add.at(matrix, (rows, negative), -1.0)
    np.add.at(matrix, (positive, rows), 1.0)
    np.add.at(matrix, (negative, rows), -1.0)
