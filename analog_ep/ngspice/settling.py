"""A circuit left alone until it is at rest: one `.tran` a sample, of which only the end counts."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from analog_ep.circuit import Circuit
from analog_ep.errors import NgspiceResultError, StimulusError
from analog_ep.netlist.netlist import number
from analog_ep.ngspice.process import Stop, run_plots
from analog_ep.ngspice.sweep import Batch, Sweep, held_voltages

# Gear's method damps what trapezoids would let ring: the clamps are many times faster than a step. With so large a
# trtol the steps are those of reltol 1e-4, while the equations of each are solved to the tight tolerances.
INTEGRATION = ".options method=gear trtol=100000"

STEPS = 30
"""Steps of a run at least."""


class SettlingRun:
    """Runs samples one by one from a start, `Batch.start` or with every node at 0 V, for a given time.

    Parameters
    ----------
    sweep : Sweep
        The circuit, with capacitors, and how it is written.
    duration : float
        [s]
    """

    def __init__(self, sweep: Sweep, duration: float):
        self._sweep, self._duration = sweep, duration

    @property
    def circuit(self) -> Circuit:
        """What is solved."""
        return self._sweep.circuit

    def run(self, batch: Batch, stop: Stop | None = None) -> np.ndarray:
        """Voltages of all nodes at the end, `(1, n_nodes)`. [V]

        Raises
        ------
        StimulusError
            If the batch is not of one sample.
        NgspiceError
            If ngspice fails, or its result must not be believed.
        """
        if len(batch) != 1:
            raise StimulusError(f"a transient shows one sample, found {len(batch)}; give them one by one")
        sweep, end = self._sweep, number(self._duration)
        step = number(self._duration / STEPS)
        analysis = [*sweep.nudge_cards(batch), *self._initial(batch), INTEGRATION, f".tran {step} {end} 0 {step} uic"]
        plots = run_plots(sweep.deck(batch, analysis), sweep.executable, sweep.timeout, stop)
        times = plots[0].columns(["time"])[:, 0]
        if len(plots) != 1 or abs(times[-1] - self._duration) > 1e-9 * self._duration:
            raise NgspiceResultError(f"ngspice must follow the circuit for {end} s, found it stopped at {times[-1]} s")
        voltages = held_voltages(self.circuit, batch.inputs)
        voltages[:, sweep.free] = plots[0].columns(sweep.saved)[-1]
        return voltages

    def _initial(self, batch: Batch) -> Iterator[str]:
        start = np.zeros(self.circuit.n_nodes) if batch.start is None else batch.start[0]
        for node in self._sweep.free:
            yield f".ic v({self.circuit.node_names[node]})={number(start[node])}"
