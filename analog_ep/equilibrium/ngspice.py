"""ngspice as a solver: the circuit simulator's word on any circuit."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path

import numpy as np
import torch

from analog_ep.circuit import Circuit, CurrentLaw, check_circuit
from analog_ep.circuit.node_capacitance import with_node_capacitance
from analog_ep.equilibrium.circuit_solver import CircuitSolver, CircuitState
from analog_ep.equilibrium.inexactness import allowed_error, inexact_message, outside_of_laws
from analog_ep.equilibrium.nodal.error_bound import ErrorBounds, error_bounds
from analog_ep.equilibrium.nodal.newton import unstable_samples
from analog_ep.equilibrium.nodal.residual import KirchhoffLaw
from analog_ep.equilibrium.nodal.samples import Stimulus
from analog_ep.equilibrium.oscillation import Oscillation
from analog_ep.errors import StimulusError
from analog_ep.netlist.netlist import SpiceOptions
from analog_ep.netlist.nudge_cards import is_expressible
from analog_ep.ngspice.batch import BatchResult, Progress, run_batch
from analog_ep.ngspice.lock_in import lock_in_samples
from analog_ep.ngspice.norton import NortonReduction
from analog_ep.ngspice.process import EngineReport
from analog_ep.ngspice.small_signal import small_signal_response
from analog_ep.ngspice.sweep import SWEEP_OPTIONS, Batch, Sweep
from analog_ep.stimulus import Nudge

_SHOWN = 5

_ROUNDING = 1e-12
"""What a linear solver that keeps its first pivots, as KLU does, leaves of voltages, relative to the largest."""

_NODE_POINTS = 2_000_000
"""Nodes times samples of a run: of 44,000 nodes it takes minutes, within the usual time limit."""

_ADVICE = "join the nodes of the largest conductances, or solve with Newton"


_SENSITIVE = 10.0
"""Error of voltages over that of tables' currents that is allowed."""


@dataclass(frozen=True)
class Ngspice(CircuitSolver):
    """Solves with ngspice, or VACASK, in processes of its own; a batch is a sweep over a sample index.

    It starts from nothing, and each sample from the one before: a given free state serves only for the currents of a
    frozen nudge, unless `nodeset` is set. The Kirchhoff residual is computed here from the voltages that ngspice
    returns, and decides about convergence together with the bound on their errors that follows from it (`ErrorBounds`):
    ngspice itself stops where its steps are small, which says nothing in a circuit that is badly conditioned. So does
    the Jacobian, as in `Newton`, where equilibria may be unstable: ngspice returns such ones without a word. A sample
    that ngspice cannot solve counts as not converged, with voltages of NaN and its index and ngspice's words in the
    message; the others keep their results.

    Parameters
    ----------
    executable : str or Path, optional
        An engine's name, such as "vacask", or the path of an ngspice; by default the engine that ``ANALOG_EP_ENGINE``
        names, otherwise the system's ngspice. See `analog_ep.ngspice.engines.find_engine`.
    options : SpiceOptions
        Tolerances.
    timeout : float or None
        Time limit of each run. [s]
    max_points : int
        Largest number of samples a run; longer batches take several, and so do those of large circuits.
    rtol : float
        Kirchhoff residual at a node, relative to the sum of |branch current| there, at which a sample counts as
        converged; beyond it only ngspice's own absolute tolerances are forgiven.
    accuracy : float
        Largest bound on the error of a node's voltage, relative to the largest voltage of the sample, at which the
        sample counts as converged; ngspice's own absolute tolerance of voltages is forgiven.
    reduced : bool
        Whether resistors to nodes that sources hold are replaced by Norton equivalents, and ideal amplifiers by
        transconductances: the same voltages, several times faster, but another netlist than the hardware's. See
        `NortonReduction`.
    nodeset : bool
        Whether the search for every sample begins at the state that `solve` is given, as ngspice's ``.nodeset`` has it:
        a circuit with several equilibria then shows whether that state is one, and otherwise which lies near.
    forms_nudges : bool
        Whether ngspice forms the currents of a frozen nudge itself, from expressions of the free outputs, wherever the
        cost has one: what a comparison asks for, at a tenth of the time more in small circuits. Otherwise it is handed
        numbers.
    processes : int
        Runs at a time.
    progress : callable, optional
        Is told after each run how many samples of how many are done.

    Raises
    ------
    CircuitError, StimulusError, NgspiceError
        On `solve`: see `check_circuit`, and the errors of `run_batch`; a missing ngspice, but no sample it fails on.
    """

    executable: str | Path | None = None
    options: SpiceOptions = SWEEP_OPTIONS
    timeout: float | None = 600.0
    max_points: int = 2000
    rtol: float = 1e-6
    accuracy: float = 1e-6
    reduced: bool = False
    nodeset: bool = False
    forms_nudges: bool = False
    processes: int = 1
    progress: Progress | None = field(default=None, repr=False, compare=False)

    def __post_init__(self):
        for name in ("max_points", "processes"):
            if getattr(self, name) < 1:
                raise StimulusError(f"Ngspice: {name} must be at least 1, found {getattr(self, name)}")

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
        if self.nodeset and start is None:
            raise StimulusError("Ngspice with nodeset needs a state to begin from, found none; give it as start")
        batch = nudged_batch(circuit, inputs, nudge, free_outputs, start if self.nodeset else None, self.forms_nudges)
        reduction = NortonReduction.of(circuit) if self.reduced else None
        # What is judged has its amplifiers, whatever is run.
        run = None if reduction is None else reduction.without_amplifiers()
        sweep = Sweep(circuit, self.options, run, self.executable, self.timeout)
        judge = Judge(circuit, reduction, batch, self.rtol, self.options, self.accuracy, sweep.program)
        points = min(self.max_points, max(_NODE_POINTS // circuit.n_nodes, 1))
        result = run_batch(sweep, batch, points, self.processes, self.progress, judge)
        return judge.state(result, nudge, free_outputs)

    def own_operating_point(self, circuit: Circuit, inputs: np.ndarray) -> CircuitState:
        return replace(self, nodeset=False).solve_circuit(circuit, inputs)

    def solve_small_signal(
        self, circuit: Circuit, inputs: np.ndarray, voltages: np.ndarray, currents: np.ndarray
    ) -> np.ndarray:
        # An `.ac` begins with ngspice's own operating point: the voltages given are not needed.
        return small_signal_response(
            circuit,
            inputs,
            currents,
            options=self.options,
            reduced=self.reduced,
            executable=self.executable,
            timeout=self.timeout,
            processes=self.processes,
        )

    def solve_swing(
        self, circuit: Circuit, inputs: np.ndarray, currents: np.ndarray, oscillation: Oscillation
    ) -> tuple[np.ndarray, np.ndarray]:
        loaded = with_node_capacitance(circuit, oscillation.capacitance)
        return lock_in_samples(
            loaded,
            inputs,
            currents,
            oscillation.frequency,
            executable=self.executable,
            timeout=self.timeout,
            processes=self.processes,
        )


class Judge:
    """Kirchhoff's law on what ngspice returns, while it still works on other samples.

    Parameters
    ----------
    circuit : Circuit
        What is solved.
    reduction : NortonReduction or None
        What is run in its place.
    batch : Batch
        All samples.
    rtol : float
        Of the residual, see `Ngspice`.
    options : SpiceOptions
        Their absolute tolerances are forgiven.
    accuracy : float
        Of the voltages, see `Ngspice`.
    program : str
        What solves, for messages.

    Attributes
    ----------
    converged : ndarray (n_samples,)
        Bool; false of samples that were not seen.
    residual : ndarray (n_samples,)
        Largest over the nodes; infinite of samples that were not seen. [A]
    """

    def __init__(
        self,
        circuit: Circuit,
        reduction: NortonReduction | None,
        batch: Batch,
        rtol: float,
        options: SpiceOptions,
        accuracy: float,
        program: str = "ngspice",
    ):
        self.circuit, self.reduction, self.batch = circuit, reduction, batch
        # A table of cards that ngspice runs says of a state no more than it is exact.
        inexact = max((group.inexactness for group in circuit.of_kind(CurrentLaw)), default=0.0)
        self.rtol, self.accuracy = max(rtol, inexact), max(accuracy, _SENSITIVE * inexact)
        self.options, self.program = options, program
        self.converged = np.zeros(len(batch), dtype=bool)
        self.residual = np.full(len(batch), np.inf)
        self._bound = np.full(len(batch), np.inf)
        self._worst: dict[int, tuple[int, float]] = {}
        # Of the reduced circuit where there is one: Norton currents leave the residual the same. Made here, as SciPy
        # never frees factors that another thread made than the one that drops them.
        self._law = KirchhoffLaw(circuit if reduction is None else reduction.circuit)
        self._bounds = self._bounds_of_all_sources()

    def __call__(self, first: int, voltages: np.ndarray) -> None:
        part = slice(first, first + len(voltages))
        residual, scale = self._law.residual(voltages, self._injected(part, voltages))
        self._bound[part] = self._far(part, voltages, residual, scale)
        magnitude = np.abs(residual, out=residual)
        self.residual[part] = magnitude.max(axis=1, initial=0.0)
        self.converged[part] = np.all(magnitude <= self.rtol * scale + self._forgiven(part, voltages), axis=1)
        for i in np.flatnonzero(~self.converged[part])[:1]:
            relative = np.divide(magnitude[i], scale[i], out=np.zeros_like(scale[i]), where=scale[i] > 0)
            node = int(relative.argmax())
            self._worst[first + int(i)] = (node, float(magnitude[i, node]))

    def state(self, result: BatchResult, nudge: Nudge | None, free_outputs: np.ndarray | None) -> CircuitState:
        """The states of the batch with the verdict on each, their exactness and stability included."""
        # NaN would pass through every sum; the samples without a result count as not converged anyway.
        voltages = np.nan_to_num(result.voltages) if result.failures else result.voltages
        allowed = allowed_error(voltages, self.accuracy, self.options.vntol)
        every = self._stimulus(slice(0, len(self.batch)))
        bound = self._bound
        if not (bound <= allowed).all():
            bound = error_bounds(self.circuit).near(every, result.voltages, bound, allowed).bound
        exact = bound <= allowed
        unstable = unstable_samples(self.circuit, self.batch.inputs, voltages, nudge, free_outputs) & self.converged
        inexact = inexact_message(self.circuit, bound, voltages, exact | ~self.converged, self.accuracy, _ADVICE)
        _, beyond = outside_of_laws(self.circuit, voltages)
        return CircuitState(
            voltages=result.voltages,
            converged=self.converged & exact & ~unstable,
            residual=self.residual,
            iterations=len(self.batch),
            message=self._failures(result) or beyond or self._instability(unstable) or inexact or self.message(),
            error_bound=bound,
        )

    def message(self) -> str:
        """The verdict on all samples in a sentence."""
        bad = np.flatnonzero(~self.converged)
        if not len(bad):
            largest = self.residual.max(initial=0.0)
            return f"{self.program} solved {len(self.converged)} samples; largest Kirchhoff residual {largest:.1e} A"
        node, amperes = self._worst[int(bad[0])]
        shown = ", ".join(map(str, bad[:_SHOWN])) + ("…" if len(bad) > _SHOWN else "")
        return (
            f"{self.program}'s voltages must satisfy Kirchhoff's current law, found {len(bad)} of "
            f"{len(self.converged)} samples that do not ({shown}): in sample {bad[0]} {amperes:.1e} A are left over "
            f"at node {self.circuit.node_names[node]!r}; tighten the tolerances or look at the circuit's gain"
        )

    def _failures(self, result: BatchResult) -> str:
        if not result.failures:
            return ""
        failed = sorted(result.failures)
        shown = ", ".join(map(str, failed[:_SHOWN])) + ("…" if len(failed) > _SHOWN else "")
        others = "; the others are solved" if len(failed) < len(result.voltages) else ""
        return (
            f"{self.program} must solve every sample, found {len(failed)} of {len(result.voltages)} that it did not "
            f"({shown}){others}; sample {failed[0]}: {result.failures[failed[0]]}"
        )

    def _instability(self, unstable: np.ndarray) -> str:
        if not unstable.any():
            return ""
        return (
            f"the equilibrium of {int(unstable.sum())} of {len(unstable)} samples is unstable (sample "
            f"{np.flatnonzero(unstable)[0]} first), which {self.program} does not say; look for a loop gain above 1 "
            f"or a negative nudge"
        )

    def _bounds_of_all_sources(self) -> ErrorBounds:
        """Those of the reduced circuit with all its sources, which has the same equations and is formed sooner."""
        if self.reduction is None:
            return error_bounds(self.circuit)
        return error_bounds(self.reduction.under_all_sources(self.circuit))

    def _far(self, part: slice, voltages: np.ndarray, residual: np.ndarray, scale: np.ndarray) -> np.ndarray:
        """Bounds that are good enough, or the best that one factorisation gives."""
        stimulus = self._stimulus(part)
        quick = self._bounds.quick(stimulus, voltages, np.abs(residual), scale)
        if quick is not None and (quick <= allowed_error(voltages, self.accuracy, self.options.vntol)).all():
            return quick
        return self._bounds.far(stimulus, voltages, (residual, scale))

    def _stimulus(self, part: slice) -> Stimulus:
        batch = self.batch.at(part)
        if batch.nudge is None or batch.free_outputs is None:
            return Stimulus(batch.inputs, batch.nudge, batch.frozen_currents)
        return Stimulus(
            batch.inputs, injected=batch.nudge.current(torch.from_numpy(np.array(batch.free_outputs))).numpy()
        )

    def _forgiven(self, part: slice, voltages: np.ndarray) -> np.ndarray:
        """Residual that ngspice's absolute tolerances allow at each node, `(n_samples, n_nodes)`. [A]

        A diode that stands in for an ideal one conducts, once it does, as no conductance of its node does: there
        rounding counts too.
        """
        linear = self.options.abstol + self.options.vntol * self._conductance
        bent = [group for group in self.circuit.of_kind(CurrentLaw) if group.resistors() is None]
        volts = self.options.vntol + _ROUNDING * np.abs(voltages).max(axis=1, initial=0.0)[:, None]
        return linear + volts * _node_slopes(bent, voltages, volts)

    @cached_property
    def _conductance(self) -> np.ndarray:
        return _node_conductance(self.circuit)

    def _injected(self, part: slice, voltages: np.ndarray) -> np.ndarray | None:
        """Currents of the nudge and the Norton sources into each node. [A]"""
        nudged = None
        if self.batch.is_nudged:
            nudged = _nudge_currents(self.circuit, voltages, self.batch.part(part.start, part.stop))
        if self.reduction is None:
            return nudged
        norton = self.reduction.injected(voltages)
        return norton if nudged is None else norton + nudged


def nudged_batch(
    circuit: Circuit,
    inputs: np.ndarray,
    nudge: Nudge | None,
    free_outputs: np.ndarray | None,
    start: np.ndarray | None,
    forms_nudges: bool,
) -> Batch:
    """Samples with their nudge; see `Ngspice.forms_nudges`.

    Raises
    ------
    StimulusError
        If the nudge does not fit the circuit's outputs, or a frozen one lacks those of the free state.
    """
    if nudge is None:
        return Batch(inputs, start=start)
    if circuit.outputs is None:
        raise StimulusError(f"a nudge needs outputs, found none in {circuit.title!r}; declare them with set_outputs")
    shape = (len(inputs), len(circuit.outputs[0]))
    if tuple(nudge.target.shape) != shape:
        raise StimulusError(f"the targets of a nudge must have shape {shape}, found {tuple(nudge.target.shape)}")
    if nudge.kind == "elastic":
        return Batch(inputs, nudge, start=start)
    if free_outputs is None:
        raise StimulusError("a frozen nudge needs the outputs of the free state, found none; solve that first")
    if forms_nudges and is_expressible(nudge.cost):
        return Batch(inputs, nudge, start=start, free_outputs=free_outputs)
    currents = nudge.current(torch.from_numpy(np.array(free_outputs))).numpy()
    return Batch(inputs, frozen_currents=currents, start=start)


def _nudge_currents(circuit: Circuit, voltages: np.ndarray, batch: Batch) -> np.ndarray:
    """Current of the nudge into each node, `(n_samples, n_nodes)`. [A]"""
    assert circuit.outputs is not None
    positive, negative = circuit.outputs
    currents = batch.frozen_currents
    if currents is None:
        assert batch.nudge is not None
        outputs = voltages[:, positive] - voltages[:, negative] if batch.free_outputs is None else batch.free_outputs
        currents = batch.nudge.current(torch.from_numpy(np.array(outputs))).numpy()
    injected = np.zeros((circuit.n_nodes, len(voltages)))
    np.add.at(injected, positive, currents.T)
    np.add.at(injected, negative, -currents.T)
    return injected.T


def _node_conductance(circuit: Circuit) -> np.ndarray:
    """Sum of the linear conductances at each node, `(n_nodes,)`: what a volt of error there costs in current. [S]"""
    total = np.zeros(circuit.n_nodes)
    for group in circuit.of_kind(CurrentLaw):
        if (siemens := group.resistors()) is not None:
            for node in group.ends():
                total += np.bincount(node, np.abs(siemens), minlength=circuit.n_nodes)
    return total


def _node_slopes(groups: Sequence[CurrentLaw], voltages: np.ndarray, volts: np.ndarray) -> np.ndarray:
    """Sum of the steepest slopes within `volts` `(n_samples, 1)` at each node, `(n_samples, n_nodes)`. [S]

    A clamp may hold its node at the very knee.
    """
    total = np.zeros_like(voltages)
    for group in groups:
        across = [voltages[:, first] - voltages[:, second] for first, second in group.controls()]
        sides = [group.slopes(*(each + shift for each in across)) for shift in (-volts, volts)]
        none = np.zeros((len(voltages), len(group)))
        steepest = sum((np.maximum(*np.abs(pair)) for pair in zip(*sides, strict=True)), none)
        for node in group.ends():
            np.add.at(total.T, node, steepest.T)
    return total
