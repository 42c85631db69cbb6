"""Where the power of a circuit goes, by class of branches."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from rich.table import Table

from analog_ep.circuit import Circuit, CurrentLaw, VoltageLaw
from analog_ep.circuit.law_check import answered, check_laws
from analog_ep.errors import StimulusError
from analog_ep.support.shown import Tabled

AMPLIFIERS = "amplifiers and controlled sources"
"""What all elements with a supply of their own deliver together."""


@dataclass(frozen=True)
class Power(Tabled):
    """Power of each class, mean over the samples.

    Attributes
    ----------
    dissipated : dict of str to float
        By the label of resistors and diodes; positive. [W]
    delivered : dict of str to float
        By the label of independent sources, and `AMPLIFIERS`; the sum is that of `dissipated`. [W]
    settling_time : float or None
        Time for which the power flows. [s]
    """

    dissipated: dict[str, float]
    delivered: dict[str, float]
    settling_time: float | None = None

    amplifiers: ClassVar[str] = AMPLIFIERS

    @property
    def total(self) -> float:
        """All that is dissipated. [W]"""
        return sum(self.dissipated.values())

    @property
    def energy(self) -> float | None:
        """Energy of one inference: total power × settling time. [J]"""
        return None if self.settling_time is None else self.total * self.settling_time

    def to_json(self) -> str:
        """The figures as a JSON object."""
        return json.dumps(
            {
                "dissipated": self.dissipated,
                "delivered": self.delivered,
                "total": self.total,
                "settling_time": self.settling_time,
                "energy_per_inference": self.energy,
            }
        )

    def table(self) -> Table:
        """A row a class."""
        table = Table("branches", "dissipated", "delivered", title="power")
        for name, watts in self.dissipated.items():
            table.add_row(name, f"{watts:.4g} W", "")
        for name, watts in self.delivered.items():
            table.add_row(name, "", f"{watts:.4g} W")
        table.add_row("total", f"{self.total:.4g} W", f"{sum(self.delivered.values()):.4g} W")
        if self.energy is not None:
            table.add_row(f"energy of an inference of {self.settling_time:.3g} s", f"{self.energy:.4g} J", "")
        return table


def branch_power(circuit: Circuit, voltages: np.ndarray, settling_time: float | None = None) -> Power:
    """Power of each group of branches at an equilibrium, without a nudge.

    By Tellegen's theorem the powers of all branches add up to zero, so that what resistors and diodes dissipate and
    independent sources do not deliver comes from amplifiers and controlled sources: their own supply and quiescent
    currents are not part of the description. Every other current law dissipates i v, a grounded source delivers its
    voltage times the current into the branches at its node.

    Parameters
    ----------
    circuit : Circuit
        Without floating voltage sources.
    voltages : ndarray (n_samples, n_nodes)
        Node voltages, ground first. [V]
    settling_time : float, optional
        Time for which the power flows in an inference. [s]

    Raises
    ------
    StimulusError
        If a voltage source floats, or the voltages are not those of the circuit's nodes.
    CircuitError
        If a law contradicts itself, see `check_circuit`.
    """
    if voltages.ndim != 2 or voltages.shape[1] != circuit.n_nodes or not np.isfinite(voltages).all():
        raise StimulusError(f"voltages must be finite, (n_samples, {circuit.n_nodes}), found shape {voltages.shape}")
    check_laws(circuit)
    dissipated: dict[str, float] = {}
    delivered: dict[str, float] = {}
    for group, current in _currents(circuit, voltages):
        first, second = group.ends()
        watts = float((current * (voltages[:, first] - voltages[:, second])).sum(axis=1).mean())
        if not group.controls():
            delivered[group.label] = -watts
        elif not group.has_own_supply:
            dissipated[group.label] = watts
    leaving = outflow(circuit, voltages)
    for group in circuit.of_kind(VoltageLaw):
        rows = group.rows()
        if not rows.is_source:
            continue
        if not rows.grounded.all():
            raise StimulusError(f"{group.label}: the power of a floating voltage source is not told; ground it")
        nodes = np.maximum(rows.positive, rows.negative)
        delivered[group.label] = float((leaving * voltages)[:, nodes].sum(axis=1).mean())
    delivered[AMPLIFIERS] = sum(dissipated.values()) - sum(delivered.values())
    return Power(dissipated, delivered, settling_time)


def outflow(circuit: Circuit, voltages: np.ndarray) -> np.ndarray:
    """Currents that leave each node through the current laws at it, `(n_samples, n_nodes)`: what holds it delivers. [A]

    Parameters
    ----------
    circuit : Circuit
        Any circuit.
    voltages : ndarray (n_samples, n_nodes)
        Node voltages, ground first. [V]
    """
    leaving = np.zeros_like(voltages)
    for group, current in _currents(circuit, voltages):
        first, second = group.ends()
        np.add.at(leaving.T, first, current.T)
        np.add.at(leaving.T, second, -current.T)
    return leaving


def _currents(circuit: Circuit, voltages: np.ndarray) -> Iterator[tuple[CurrentLaw, np.ndarray]]:
    """Every current law with the currents of its elements, `(n_samples, n_elements)`. [A]"""
    for group in circuit.of_kind(CurrentLaw):
        shape = (len(voltages), len(group))
        at = [voltages[:, p] - voltages[:, n] for p, n in group.controls()]
        allowed = (shape,) if at else (shape[1:],)
        current = answered(group, "current", lambda law=group, at=at: law.current(*at), *allowed)
        yield group, np.broadcast_to(current, shape)
