"""How a circuit with node capacitances settles, by ngspice's `.tran`."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from rich.table import Table

from analog_ep.circuit import Capacitors, Circuit, Conductances, check_circuit
from analog_ep.errors import ConvergenceError, StimulusError
from analog_ep.spice.batch import run_twice
from analog_ep.spice.netlist import SpiceOptions, number
from analog_ep.spice.norton import NortonReduction
from analog_ep.spice.process import run_plots
from analog_ep.spice.sweep import Batch, Sweep

_FIRST_GUESS = 10.0
"""Time constants of the slowest node alone with which the search for a duration begins."""

_POINTS = 2000
_LONGEST = 12
_SETTLED = 1e-4
"""Distance from the end state, relative to the largest change, at which a transient is long enough."""


@dataclass(frozen=True, eq=False)
class Settling:
    """A transient from given node voltages to the equilibrium.

    Attributes
    ----------
    times : ndarray (n_times,)
        Not equidistant, from 0. [s]
    layers : dict of str to ndarray (n_times, n_units)
        Voltages of the circuit's layers. [V]
    final : dict of str to ndarray (n_units,)
        Their equilibrium, from a sweep of its own. [V]
    """

    times: np.ndarray
    layers: Mapping[str, np.ndarray]
    final: Mapping[str, np.ndarray]

    def within(self, volts: float) -> dict[str, float]:
        """Time after which all nodes of a layer stay so close to their equilibrium, such as one LSB. [s]"""
        return {name: self._settled(name, volts) for name in self.layers}

    def within_share(self, share: float = 0.01) -> dict[str, float]:
        """Time after which all nodes of a layer stay within a share of the layer's largest change. [s]"""
        return {name: self._settled(name, share * self._change(name)) for name in self.layers}

    def _change(self, name: str) -> float:
        return float(np.abs(self.layers[name][0] - self.final[name]).max(initial=0.0))

    def _settled(self, name: str, volts: float) -> float:
        distance = np.abs(self.layers[name] - self.final[name]).max(axis=1, initial=0.0)
        outside = np.flatnonzero(distance > volts)
        if not len(outside):
            return 0.0
        last = int(outside[-1])
        if last + 1 == len(distance):
            raise ConvergenceError(
                f"layer {name} must settle within {volts:.1e} V, found {distance[-1]:.1e} V left after "
                f"{self.times[-1]:.3g} s; give a longer duration or tighter tolerances"
            )
        slope = (volts - distance[last]) / (distance[last + 1] - distance[last])
        return float(self.times[last] + slope * (self.times[last + 1] - self.times[last]))

    def figures(self, lsb: float) -> dict[str, dict[str, float]]:
        """Per layer the settling time to 1 % and to one LSB [V]. [s]"""
        share, step = self.within_share(), self.within(lsb)
        return {name: {"to_1_percent": share[name], "to_1_lsb": step[name]} for name in self.layers}


@dataclass(frozen=True)
class SettlingReport:
    """Settling times of the free phase and of the nudged one after it.

    Attributes
    ----------
    phases : dict of str to dict
        By phase and layer, `to_1_percent` and `to_1_lsb`. [s]
    capacitance : float
        Of every node. [F]
    lsb : float
        Step of the converter. [V]
    """

    phases: dict[str, dict[str, dict[str, float]]]
    capacitance: float
    lsb: float

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


def settling(
    circuit: Circuit,
    inputs: np.ndarray,
    *,
    nudge_currents: np.ndarray | None = None,
    start: np.ndarray | None = None,
    duration: float | None = None,
    options: SpiceOptions | None = None,
    reduced: bool = False,
    executable: str | Path | None = None,
    timeout: float | None = 600.0,
) -> Settling:
    """Follow the layers from given node voltages while the sources stand at one sample's values.

    Parameters
    ----------
    circuit : Circuit
        With layers and capacitors, see `with_node_capacitance`. Nodes without a capacitor follow at once.
    inputs : ndarray (n_inputs,)
        Inputs, switched on at time 0. [V]
    nudge_currents : ndarray (n_outputs,), optional
        Constant currents into v₊ and out of v₋, switched on at time 0. [A]
    start : ndarray (n_nodes,), optional
        Node voltages at time 0, such as those of the free phase; by default all are discharged. [V]
    duration : float, optional
        By default as long as it takes. [s]
    options : SpiceOptions, optional
        Tolerances; ngspice limits the error of the transient with `reltol`.
    reduced : bool
        Whether a `NortonReduction` is run in place of the circuit.
    executable, timeout
        See `run_ngspice`.

    Raises
    ------
    CircuitError
        See `check_circuit`.
    StimulusError
        If the circuit has no layers or no capacitors.
    ConvergenceError
        If it does not settle.
    NgspiceError
        If ngspice fails.
    """
    check_circuit(circuit)
    if not circuit.layers or not circuit.of_kind(Capacitors):
        raise StimulusError(f"settling needs layers and capacitors, found none in {circuit.title!r}")
    currents = None if nudge_currents is None else np.asarray(nudge_currents, dtype=np.float64)[None]
    batch = Batch(np.asarray(inputs, dtype=np.float64)[None], frozen_currents=currents)
    sweep = Sweep(circuit, options, NortonReduction.of(circuit) if reduced else None, executable, timeout)
    final = run_twice(lambda: sweep.run(batch))[0]
    transient = SpiceOptions(reltol=1e-6, vntol=1e-9, abstol=1e-14) if options is None else options
    follow = _Transient(Sweep(circuit, transient, sweep.reduction, executable, timeout), batch, start)
    seconds = _slowest_node(circuit) * _FIRST_GUESS if duration is None else duration
    for _ in range(_LONGEST):
        times, voltages = follow.run(seconds)
        change = np.abs(voltages[0] - final).max(initial=0.0)
        if duration is not None or np.abs(voltages[-1] - final).max(initial=0.0) <= _SETTLED * change:
            layers = circuit.layers.items()
            return Settling(times, {n: voltages[:, i] for n, i in layers}, {n: final[i] for n, i in layers})
        seconds *= 2
    raise ConvergenceError(f"{circuit.title!r} must settle, found it moving after {seconds:.3g} s; look at its gains")


@dataclass(frozen=True, eq=False)
class _Transient:
    """Runs of one transient with different durations."""

    sweep: Sweep
    batch: Batch
    start: np.ndarray | None

    def run(self, seconds: float) -> tuple[np.ndarray, np.ndarray]:
        """Times, and the voltages of all nodes at them."""
        sweep, step = self.sweep, number(seconds / _POINTS)
        cards = [*sweep.nudge_cards(self.batch), *self._initial(), f".tran {step} {number(seconds)} 0 {step} uic"]
        deck = sweep.deck(self.batch, cards)
        (plot,) = run_twice(lambda: run_plots(deck, sweep.executable, sweep.timeout))
        voltages = np.zeros((len(plot.values), sweep.circuit.n_nodes))
        voltages[:, sweep.free] = plot.columns(sweep.saved)
        times = plot.columns(["time"])[:, 0]
        # ngspice's first point lies after the step; what was before it is the given state.
        times, voltages = np.append(0.0, times), np.concatenate([self._volts()[None], voltages])
        voltages[:, ~np.isin(np.arange(voltages.shape[1]), sweep.free)] = sweep.held(self.batch)
        return times, voltages

    def _initial(self) -> list[str]:
        names, volts = self.sweep.circuit.node_names, self._volts()
        return [f".ic v({names[node]})={number(volts[node])}" for node in self.sweep.free]

    def _volts(self) -> np.ndarray:
        return np.zeros(self.sweep.circuit.n_nodes) if self.start is None else self.start


def _slowest_node(circuit: Circuit) -> float:
    """Largest C/g over the nodes, with their linear conductances alone. [s]"""
    farads, siemens = np.zeros(circuit.n_nodes), np.zeros(circuit.n_nodes)
    for group, total, values in [
        *((group, farads, group.farads) for group in circuit.of_kind(Capacitors)),
        *((group, siemens, group.siemens) for group in circuit.of_kind(Conductances)),
    ]:
        for nodes in (group.positive, group.negative):
            total += np.bincount(nodes, values, minlength=circuit.n_nodes)
    own = (farads > 0) & (siemens > 0) & (np.arange(circuit.n_nodes) > 0)
    return float((farads[own] / siemens[own]).max(initial=1e-12))
