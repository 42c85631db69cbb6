"""The state that a circuit comes to when it is left alone, by ngspice's transient analysis."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from analog_ep.circuit import ChargeLaw, Circuit, check_circuit
from analog_ep.dynamics.time_constants import slowest_node
from analog_ep.equilibrium.circuit_solver import CircuitSolver, CircuitState
from analog_ep.equilibrium.ngspice import Judge, nudged_batch
from analog_ep.errors import StimulusError
from analog_ep.netlist.netlist import SpiceOptions
from analog_ep.ngspice.batch import BatchResult, Progress, run_batch
from analog_ep.ngspice.process import EngineReport
from analog_ep.ngspice.settling import SettlingRun
from analog_ep.ngspice.sweep import Batch, Sweep
from analog_ep.stimulus import Nudge

_OPTIONS = SpiceOptions()
_FIRST = 30.0
"""Time constants of the slowest node alone that a first run lasts."""


@dataclass(frozen=True)
class NgspiceSettling(CircuitSolver):
    """Lets a circuit with capacitors settle in ngspice, a transient a sample, and takes what it comes to.

    The free phase begins with every node at 0 V, or at a given free state, and the nudged phase at the free state, as
    in hardware: where there are several equilibria, the dynamics choose. A sample is at rest when no node has more net
    current, its capacitor left out, than the tolerances of `Ngspice` allow; one that still moves at the end of its run
    goes on from there for twice as long.

    Parameters
    ----------
    executable, options, timeout, processes, progress
        See `Ngspice`; each process runs one sample.
    duration : float, optional
        Of the first run; by default 30 of the largest C/g of a node alone. [s]
    max_runs : int
        Runs of one sample at most, each twice as long as the one before.
    rtol : float
        Net current at a node, relative to the sum of |branch current| there, at which a sample counts as at rest.
    accuracy : float
        Largest bound on the error of a node's voltage, see `Ngspice`.

    Raises
    ------
    CircuitError
        On `solve`: see `check_circuit`.
    StimulusError
        If a number is not positive; on `solve`, if the circuit has no capacitors.
    NgspiceError
        On `solve`, if ngspice is missing.
    """

    executable: str | Path | None = None
    options: SpiceOptions = _OPTIONS
    timeout: float | None = 600.0
    duration: float | None = None
    max_runs: int = 6
    rtol: float = 1e-10
    accuracy: float = 1e-6
    processes: int = 1
    progress: Progress | None = field(default=None, repr=False, compare=False)

    def __post_init__(self):
        for name in ("max_runs", "processes"):
            if getattr(self, name) < 1:
                raise StimulusError(f"NgspiceSettling: {name} must be at least 1, found {getattr(self, name)}")
        if self.duration is not None and not 0 < self.duration < float("inf"):
            raise StimulusError(f"NgspiceSettling: duration must be positive and finite, found {self.duration} s")

    @property
    def engine(self) -> EngineReport:
        return EngineReport.of(self.executable)

    def solve_circuit(
        self,
        circuit: Circuit,
        inputs: np.ndarray,
        nudge: Nudge | None = None,
        free_outputs: np.ndarray | None = None,
        start: np.ndarray | None = None,
    ) -> CircuitState:
        check_circuit(circuit)
        if not circuit.of_kind(ChargeLaw):
            raise StimulusError(f"settling needs capacitors, found none in {circuit.title!r}; add Capacitors")
        sweep = Sweep(circuit, self.options, None, self.executable, self.timeout)
        voltages = np.zeros((len(inputs), circuit.n_nodes)) if start is None else start
        batch = nudged_batch(circuit, inputs, nudge, free_outputs, voltages, forms_nudges=True)
        judge = Judge(circuit, None, batch, self.rtol, self.options, self.accuracy)
        result, moving = BatchResult(voltages, {}), np.arange(len(inputs))
        seconds, runs = self.duration or _FIRST * slowest_node(circuit), 0
        while len(moving) and runs < self.max_runs:
            found = self._run(SettlingRun(sweep, seconds), replace(batch, start=result.voltages), moving, judge)
            result = _merged(result, found, moving)
            runs, seconds = runs + 1, 2 * seconds
            moving = np.setdiff1d(np.flatnonzero(~judge.converged), list(result.failures)).astype(np.int64)
        return replace(judge.state(result, nudge, free_outputs), iterations=runs)

    def _run(self, run: SettlingRun, batch: Batch, samples: np.ndarray, judge: Judge) -> BatchResult:
        def solved(first: int, voltages: np.ndarray) -> None:
            judge(int(samples[first]), voltages)

        return run_batch(run, batch.at(samples), 1, self.processes, self.progress, solved)


def _merged(before: BatchResult, found: BatchResult, samples: np.ndarray) -> BatchResult:
    voltages = before.voltages.copy()
    voltages[samples] = found.voltages
    return BatchResult(voltages, {**before.failures, **{int(samples[n]): e for n, e in found.failures.items()}})
