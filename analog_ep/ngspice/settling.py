"""A circuit left alone until it is at rest: one `.tran` a sample, of which only the end counts."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from analog_ep.circuit import Circuit
from analog_ep.errors import NgspiceResultError, StimulusError
from analog_ep.netlist.timing import SETTLING_STEPS, SETTLING_TRTOL
from analog_ep.ngspice.process import Stop, run_plots
from analog_ep.ngspice.sweep import Batch, Sweep, held_voltages


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
        sweep, end = self._sweep, self._duration
        integration = sweep.analyses.integration(SETTLING_TRTOL)
        transient = sweep.analyses.transient(end / SETTLING_STEPS, end, from_start=True)
        analysis = [*sweep.nudge_cards(batch), *self._initial(batch), integration, transient]
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
            yield self._sweep.analyses.initial(self.circuit.node_names[node], start[node])
