"""Settling of the phases of a sample, one after the other."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
from rich.table import Table

from analog_ep.analyses.settling import Settling, settling, settling_in_torch
from analog_ep.circuit import Circuit
from analog_ep.netlist.netlist import SpiceOptions
from analog_ep.support.shown import Tabled

Integrator = Literal["ngspice", "torch"]

NUDGED_TOLERANCES = SpiceOptions(reltol=1e-8, vntol=1e-12, abstol=1e-15)
"""A nudge moves the first layers by a small part of their voltages, which usual tolerances of `.tran` would hide."""


@dataclass(frozen=True)
class SettlingReport(Tabled):
    """Settling times of the free phase from discharged nodes, and of the nudged one from the free state.

    Attributes
    ----------
    curves : dict of str to Settling
        By phase, "free" and "nudged".
    capacitance : float
        Of every node. [F]
    lsb : float
        Step of the converter. [V]
    """

    curves: Mapping[str, Settling]
    capacitance: float
    lsb: float

    @property
    def phases(self) -> dict[str, dict[str, dict[str, float]]]:
        """By phase and layer, `to_1_percent` and `to_1_lsb`. [s]"""
        return {name: curve.figures(self.lsb) for name, curve in self.curves.items()}

    def output_time(self, phase: str) -> float:
        """Time until the last layer has settled to 1 % in a phase. [s]"""
        return list(self.curves[phase].within_share().values())[-1]

    def to_json(self) -> str:
        """The figures as a JSON object."""
        return json.dumps({"phases": self.phases, "capacitance": self.capacitance, "lsb": self.lsb})

    def table(self) -> Table:
        """A row a phase and layer."""
        title = f"settling with {self.capacitance:.3g} F at each node"
        table = Table("phase", "layer", "to 1 %", f"to 1 LSB ({self.lsb:.3g} V)", title=title)
        for phase, layers in self.phases.items():
            for name, times in layers.items():
                table.add_row(phase, name, f"{times['to_1_percent']:.4g} s", f"{times['to_1_lsb']:.4g} s")
        return table


def settling_report(
    circuit: Circuit,
    inputs: np.ndarray,
    free: np.ndarray,
    nudge_currents: np.ndarray,
    *,
    capacitance: float,
    lsb: float,
    integrator: Integrator = "ngspice",
) -> SettlingReport:
    """Follow the free phase from discharged nodes, and the nudged phase from the free state.

    Parameters
    ----------
    circuit : Circuit
        With capacitors, see `settling`.
    inputs : ndarray (n_inputs,)
        Inputs. [V]
    free : ndarray (n_nodes,)
        The circuit's free state. [V]
    nudge_currents : ndarray (n_outputs,)
        Constant currents into v₊ and out of v₋. [A]
    capacitance, lsb : float
        Told by the report. [F], [V]
    integrator : "ngspice" or "torch"
        See `settling` and `settling_in_torch`.

    Raises
    ------
    CircuitError, StimulusError, ConvergenceError, NgspiceError
        See `settling`.
    """
    if integrator == "torch":
        begun = settling_in_torch(circuit, inputs)
        nudged = settling_in_torch(circuit, inputs, nudge_currents=nudge_currents, start=free, rtol=1e-8)
    else:
        begun = settling(circuit, inputs, reduced=True)
        nudged = settling(
            circuit, inputs, nudge_currents=nudge_currents, start=free, options=NUDGED_TOLERANCES, reduced=True
        )
    return SettlingReport({"free": begun, "nudged": nudged}, capacitance, lsb)
