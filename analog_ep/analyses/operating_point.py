"""The operating point of one sample: voltages, diodes and transistors at work, what is left of Kirchhoff's law."""

from __future__ import annotations

import json
from dataclasses import dataclass

import numpy as np
import torch
from rich.table import Table

from analog_ep.circuit import Circuit, CurrentLaw, check_circuit
from analog_ep.circuit.law_check import answered
from analog_ep.equilibrium.equilibrium import Solver, solve
from analog_ep.support.shown import Tabled


@dataclass(frozen=True, eq=False)
class OperatingPoint(Tabled):
    """One equilibrium.

    Attributes
    ----------
    nodes : dict of str to float
        Voltage of every node but ground. [V]
    layers : dict of str to ndarray (n_units,)
        Voltages of the circuit's layers. [V]
    outputs : ndarray (n_outputs,)
        Differential outputs. [V]
    diodes : dict of str to ndarray (n_diodes,)
        Current of each diode, transistor's channel or other nonlinear element without a supply of its own, by the label
        of its group; of the junctions of MOSFETs by ``LABEL.drain`` and ``LABEL.source``. [A]
    residual : float
        Largest Kirchhoff residual at a node. [A]
    """

    nodes: dict[str, float]
    layers: dict[str, np.ndarray]
    outputs: np.ndarray
    diodes: dict[str, np.ndarray]
    residual: float

    def to_json(self) -> str:
        """The figures as a JSON object."""
        return json.dumps(
            {
                "nodes": self.nodes,
                "layers": {name: volts.tolist() for name, volts in self.layers.items()},
                "outputs": self.outputs.tolist(),
                "diodes": {label: amperes.tolist() for label, amperes in self.diodes.items()},
                "residual": self.residual,
            }
        )

    def table(self) -> Table:
        """A row a layer, the outputs, and a row a group of diodes."""
        table = Table("what", "lowest", "mean", "highest", title="operating point")
        for name, volts in self.layers.items():
            table.add_row(f"layer {name}", *(f"{v:.4g} V" for v in (volts.min(), volts.mean(), volts.max())))
        for i, volts in enumerate(self.outputs):
            table.add_row(f"output {i}", "", f"{volts:.6g} V", "")
        for label, amperes in self.diodes.items():
            table.add_row(f"diodes {label}", *(f"{a:.3g} A" for a in (amperes.min(), amperes.mean(), amperes.max())))
        table.add_row("largest Kirchhoff residual", "", "", f"{self.residual:.1e} A")
        return table


def operating_point(circuit: Circuit, inputs: np.ndarray, *, solver: Solver) -> OperatingPoint:
    """Solve one sample without a nudge.

    Parameters
    ----------
    circuit : Circuit
        Any circuit.
    inputs : ndarray (n_inputs,)
        Inputs. [V]
    solver : Solver
        Such as `Ngspice()`.

    Raises
    ------
    CircuitError
        See `check_circuit`.
    ConvergenceError
        If the solver finds no equilibrium.
    """
    check_circuit(circuit)
    found = solve(circuit, torch.as_tensor(inputs, dtype=torch.float64), solver=solver)
    voltages = found.voltages.numpy()
    return OperatingPoint(
        nodes=dict(zip(circuit.node_names[1:], voltages[1:].tolist(), strict=True)),
        layers={name: voltages[nodes] for name, nodes in circuit.layers.items()},
        outputs=found.outputs.numpy(),
        diodes={
            group.label: _currents(group, voltages)
            for group in circuit.of_kind(CurrentLaw)
            if not group.linear and not group.has_own_supply
        },
        residual=float(found.residual),
    )


def _currents(group: CurrentLaw, voltages: np.ndarray) -> np.ndarray:
    across = [voltages[first] - voltages[second] for first, second in group.controls()]
    return answered(group, "current", lambda: group.current(*across), across[0].shape)
