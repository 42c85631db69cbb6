"""Where each nonlinear element of a circuit works on its current-voltage characteristic."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from rich.table import Table

from analog_ep.circuit import Circuit, CurrentLaw
from analog_ep.circuit.law_check import answered
from analog_ep.errors import StimulusError
from analog_ep.support.shown import Tabled
from analog_ep.support.si import si

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_POINTS = 200


@dataclass(frozen=True, eq=False)
class WorkingPoints:
    """One group of elements of two terminals.

    Attributes
    ----------
    label : str
        Of the group.
    volts, amperes : ndarray (n_elements,)
        Voltage across each and current through it. [V], [A]
    curve_volts, curve_amperes : ndarray (n_points,)
        The characteristic of the first element. [V], [A]
    """

    label: str
    volts: np.ndarray
    amperes: np.ndarray
    curve_volts: np.ndarray
    curve_amperes: np.ndarray


@dataclass(frozen=True, eq=False)
class Characteristics(Tabled):
    """The nonlinear elements of a circuit with two terminals at one state.

    Attributes
    ----------
    groups : tuple of WorkingPoints
        One each.
    """

    groups: tuple[WorkingPoints, ...]

    def to_json(self) -> str:
        """Voltages and currents by group, as a JSON object."""
        return json.dumps(
            {each.label: {"volts": each.volts.tolist(), "amperes": each.amperes.tolist()} for each in self.groups}
        )

    def table(self) -> Table:
        """A row a group."""
        table = Table("elements", "number", "voltages", "currents")
        for each in self.groups:
            ends = [(each.volts.min(), each.volts.max(), "V"), (each.amperes.min(), each.amperes.max(), "A")]
            texts = [f"{si(low, unit)} … {si(high, unit)}" for low, high, unit in ends]
            table.add_row(each.label, str(len(each.volts)), *texts)
        return table

    def plot(self) -> Figure:
        """A panel a group: its characteristic, and a dot for each element."""
        # Loaded where something is drawn: no command waits for it.
        from matplotlib.figure import Figure
        from matplotlib.ticker import EngFormatter, MaxNLocator

        columns = min(len(self.groups), 3)
        rows = -(-len(self.groups) // columns)
        figure = Figure(figsize=(max(3.6 * columns, 6), 3.1 * rows), layout="constrained")
        panels = figure.subplots(rows, columns, squeeze=False).ravel()
        for panel, each in zip(panels, self.groups, strict=False):
            panel.plot(each.curve_volts, each.curve_amperes, color="grey", linewidth=1, label="characteristic")
            panel.plot(each.volts, each.amperes, "o", color="C3", alpha=0.5, markersize=4, label="elements")
            low, high = min(each.amperes.min(), 0.0), max(each.amperes.max(), 0.0)
            edge = 0.15 * (high - low) or 1e-12
            panel.set(xlabel="voltage", title=each.label, ylim=(low - edge, high + edge))
            panel.xaxis.set_major_formatter(EngFormatter("V"))
            panel.yaxis.set_major_formatter(EngFormatter("A"))
            panel.xaxis.set_major_locator(MaxNLocator(5))
            panel.grid(alpha=0.3)
        panels[0].set_ylabel("current")
        panels[0].legend(fontsize="small")
        for panel in panels[len(self.groups) :]:
            panel.axis("off")
        return figure


def characteristics(circuit: Circuit, voltages: np.ndarray) -> Characteristics:
    """Voltage and current of every diode and other nonlinear element of two terminals.

    Elements with a supply of their own and those of more terminals, transistors, are left out.

    Parameters
    ----------
    circuit : Circuit
        Any circuit.
    voltages : ndarray (n_nodes,)
        Node voltages, ground first. [V]

    Raises
    ------
    StimulusError
        If the voltages are not those of the circuit's nodes.
    CircuitError
        If a law contradicts itself.
    """
    voltages = np.asarray(voltages, dtype=np.float64)
    if voltages.shape != (circuit.n_nodes,) or not np.isfinite(voltages).all():
        raise StimulusError(f"voltages must be finite, ({circuit.n_nodes},), found shape {voltages.shape}")
    return Characteristics(tuple(_points(group, voltages) for group in _of_two_terminals(circuit)))


def _of_two_terminals(circuit: Circuit) -> Iterator[CurrentLaw]:
    for group in circuit.of_kind(CurrentLaw):
        if not group.linear and not group.has_own_supply and len(group.controls()) == 1 and len(group):
            yield group


def _points(group: CurrentLaw, voltages: np.ndarray) -> WorkingPoints:
    ((first, second),) = group.controls()
    volts = voltages[first] - voltages[second]
    amperes = answered(group, "current", lambda: group.current(volts), volts.shape)
    low, high = float(volts.min()), float(volts.max())
    edge = 0.1 * (high - low) or 0.1 * max(abs(high), 0.1)
    curve = np.linspace(min(low - edge, 0.0), high + edge / 4, _POINTS)
    spread = np.repeat(curve[:, None], len(group), axis=1)
    along = answered(group, "current", lambda: group.current(spread), spread.shape)[:, 0]
    return WorkingPoints(group.label, volts, amperes, curve, along)
