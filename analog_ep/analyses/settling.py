"""How a circuit with node capacitances settles, by ngspice's `.tran` or by an integration in PyTorch."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch

from analog_ep.circuit import ChargeLaw, Circuit, check_circuit
from analog_ep.circuit.energy import held_nodes
from analog_ep.circuit.output_sources import with_output_currents
from analog_ep.dynamics.time_constants import slowest_node
from analog_ep.dynamics.transient import transient
from analog_ep.equilibrium.equilibrium import solve
from analog_ep.equilibrium.nodal.newton import Newton
from analog_ep.errors import ConvergenceError, StimulusError
from analog_ep.netlist.netlist import SpiceOptions
from analog_ep.ngspice.batch import run_twice
from analog_ep.ngspice.norton import NortonReduction
from analog_ep.ngspice.process import run_plots
from analog_ep.ngspice.sweep import Batch, Sweep

_FIRST_GUESS = 20.0
"""Time constants of the slowest node alone with which the search for a duration begins."""

_POINTS = 500
_LONGEST = 12
_SETTLED, _LAYER_SETTLED = 1e-4, 1e-3
"""Distance from the end state of a transient long enough, relative to the largest change of all layers and of each."""


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
        With capacitors, see `with_node_capacitance`. Nodes without one follow at once. Where it names no layers, the
        outputs stand for one, and the other nodes for another.
    inputs : ndarray (n_inputs,)
        Inputs, switched on at time 0. [V]
    nudge_currents : ndarray (n_outputs,), optional
        Constant currents into v₊ and out of v₋, switched on at time 0. [A]
    start : ndarray (n_nodes,), optional
        Node voltages at time 0, such as those of the free phase; by default all are discharged. [V]
    duration : float, optional
        By default as long as it takes. [s]
    options, executable, timeout
        See `SpiceOptions`, whose `reltol` limits the error of the transient, and `run_ngspice`.
    reduced : bool
        Whether a `NortonReduction` is run in place of the circuit.

    Raises
    ------
    CircuitError
        See `check_circuit`.
    StimulusError
        If the circuit has no capacitors.
    ConvergenceError
        If it does not settle.
    NgspiceError
        If ngspice fails.
    """
    circuit = _checked(circuit, nudge_currents)
    batch = Batch(np.asarray(inputs, dtype=np.float64)[None])
    sweep = Sweep(circuit, options, NortonReduction.of(circuit) if reduced else None, executable, timeout)
    final = run_twice(lambda: sweep.run(batch))[0]
    tolerances = SpiceOptions(reltol=1e-6, vntol=1e-9, abstol=1e-14) if options is None else options
    follow = _Transient(Sweep(circuit, tolerances, sweep.reduction, executable, timeout), batch, start)
    return _settled(circuit, follow.run, final, duration)


def settling_in_torch(
    circuit: Circuit,
    inputs: np.ndarray,
    *,
    nudge_currents: np.ndarray | None = None,
    start: np.ndarray | None = None,
    duration: float | None = None,
    rtol: float = 1e-6,
) -> Settling:
    """The same as `settling` without ngspice: see `transient`, and `Newton` for the equilibrium.

    Parameters
    ----------
    circuit, inputs, nudge_currents, start, duration
        As for `settling`.
    rtol : float
        Relative error of a step.

    Raises
    ------
    CircuitError, StimulusError
        As `settling`.
    ConvergenceError
        If it does not settle, or there is no equilibrium.
    """
    circuit = _checked(circuit, nudge_currents)
    inputs = np.asarray(inputs, dtype=np.float64)
    final = solve(circuit, torch.from_numpy(inputs), solver=Newton()).voltages.numpy()

    def run(seconds: float) -> tuple[np.ndarray, np.ndarray]:
        found = transient(circuit, inputs, seconds, start=start, rtol=rtol)
        return found.times, found.voltages

    return _settled(circuit, run, final, duration)


def _checked(circuit: Circuit, nudge_currents: np.ndarray | None) -> Circuit:
    """The circuit with its nudge, and with layers."""
    check_circuit(circuit)
    if not circuit.of_kind(ChargeLaw):
        raise StimulusError(f"settling needs capacitors, found none in {circuit.title!r}; see with_node_capacitance")
    return with_output_currents(_with_layers(circuit), nudge_currents)


def _with_layers(circuit: Circuit) -> Circuit:
    """The circuit, where it names no layer with two: the nodes that no source holds, and the outputs among them."""
    if circuit.layers:
        return circuit
    free = np.flatnonzero(~held_nodes(circuit))
    outputs = np.unique(np.concatenate(circuit.outputs)) if circuit.outputs else free[:0]
    parts = {"inner": np.setdiff1d(free, outputs), "o": np.intersect1d(free, outputs)}
    return replace(circuit, layers={name: nodes for name, nodes in parts.items() if len(nodes)})


def _settled(
    circuit: Circuit,
    run: Callable[[float], tuple[np.ndarray, np.ndarray]],
    final: np.ndarray,
    duration: float | None,
) -> Settling:
    """Run for the duration, or for twice as long again and again until the layers are at rest."""
    seconds = slowest_node(circuit) * _FIRST_GUESS if duration is None else duration
    for _ in range(_LONGEST):
        times, voltages = run(seconds)
        distance = np.abs(voltages - final)
        change, left = (np.array([distance[at, nodes].max() for nodes in circuit.layers.values()]) for at in (0, -1))
        if duration is not None or ((left <= _SETTLED * change.max()) & (left <= _LAYER_SETTLED * change)).all():
            layers = circuit.layers.items()
            return Settling(times, {n: voltages[:, i] for n, i in layers}, {n: final[i] for n, i in layers})
        seconds *= 2
    raise ConvergenceError(
        f"{circuit.title!r} must settle, found it moving after {seconds / 2:.3g} s; look at its gains"
    )


@dataclass(frozen=True, eq=False)
class _Transient:
    """Runs of one transient with different durations."""

    sweep: Sweep
    batch: Batch
    start: np.ndarray | None

    def run(self, seconds: float) -> tuple[np.ndarray, np.ndarray]:
        """Times, and the voltages of all nodes at them."""
        sweep = self.sweep
        transient = sweep.analyses.transient(seconds / _POINTS, seconds, from_start=True)
        deck = sweep.deck(self.batch, [*self._initial(), transient])
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
        return [self.sweep.analyses.initial(names[node], volts[node]) for node in self.sweep.free]

    def _volts(self) -> np.ndarray:
        return np.zeros(self.sweep.circuit.n_nodes) if self.start is None else self.start
