"""Newton's method on Kirchhoff's equations: any circuit, float64, to rounding."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from analog_ep.circuit import Circuit, CurrentLaw, energy_weights
from analog_ep.equilibrium.circuit_solver import CircuitSolver, CircuitState
from analog_ep.equilibrium.inexactness import allowed_error, inexact_message, outside_of_laws
from analog_ep.equilibrium.nodal.assembly import apply
from analog_ep.equilibrium.nodal.equations import Equations, State
from analog_ep.equilibrium.nodal.error_bound import error_bounds
from analog_ep.equilibrium.nodal.jacobian import Jacobian, jacobian_of
from analog_ep.equilibrium.nodal.line_search import search_convex, search_residual
from analog_ep.equilibrium.nodal.reduction import ReducedSystem, reduced_system
from analog_ep.equilibrium.nodal.samples import Stimulus
from analog_ep.equilibrium.nodal.spectrum import stable_samples
from analog_ep.equilibrium.nodal.trials import Trials
from analog_ep.stimulus import Nudge

_PATIENCE = 40
"""Steps without less residual after which a sample is left to the refinement with twice the digits."""

_STALLED = 1e-9
"""Relative residual below which no more progress means that rounding is reached."""

_LONGEST_CHAIN = 20
"""Laws, each undefined before the one ahead of it has a value, that are followed from the start."""

_ADVICE = "join the nodes of the largest conductances, change the gain, or allow more with accuracy"


def unstable_samples(
    circuit: Circuit, inputs: np.ndarray, voltages: np.ndarray, nudge: Nudge | None, free_outputs: np.ndarray | None
) -> np.ndarray:
    """Equilibria `(n_samples, n_nodes)` [V] of any solver that are unstable, bool `(n_samples,)`.

    False where energy and nudge are convex, and where there are too many unknowns to tell; see `stable_samples`.
    """
    if _is_surely_convex(circuit, nudge):
        return np.zeros(len(inputs), dtype=bool)
    system = reduced_system(circuit)
    equations = Equations.of(system, inputs, nudge, free_outputs)
    jacobian = jacobian_of(system, equations.elastic is not None, equations.is_reciprocal)
    unknowns = system.unknowns(voltages)
    parts = np.array_split(np.arange(len(inputs)), -(-len(inputs) // jacobian.chunk) or 1)
    return np.concatenate([~_stable(jacobian, equations.select(part), unknowns[part])[0] for part in parts])


def _is_surely_convex(circuit: Circuit, nudge: Nudge | None) -> bool:
    """What `Equations.is_convex` says, without the cost of the equations."""
    weights = energy_weights(circuit).nodes
    if weights is None or not all(group.is_monotone() for group in circuit.of_kind(CurrentLaw) if group.controls()):
        return False
    if nudge is None or nudge.kind == "frozen" or circuit.outputs is None:
        return True
    at_outputs = weights[np.stack(circuit.outputs)]
    return nudge.strength >= 0 and bool((at_outputs == at_outputs.flat[0]).all())


def _stable(jacobian: Jacobian, equations: Equations, unknowns: np.ndarray) -> tuple[np.ndarray, bool]:
    state = equations.at(unknowns)
    system = equations.system
    return stable_samples(jacobian, jacobian.values(state.slopes), system.n_voltages, system.inertia)


@dataclass(frozen=True)
class Newton(CircuitSolver):
    """Damped Newton iteration on the reduced Kirchhoff equations (`ReducedSystem`), the whole batch at once.

    It ends with one full step after every row's residual is at most `rtol` of the sum of the magnitudes in it, or
    where rounding allows no more progress. What decides about convergence is the bound on the error of the voltages
    (`ErrorBounds`): a sample beyond `accuracy` is solved on with twice the digits, in voltages along the heaviest
    branches, where no ratio of conductances costs a digit. Symmetric factorisations and a line search on the energy are
    used where the circuit has one; LU and a line search on the residual where it has none. Small or full Jacobians are
    factorised as dense batches; sparse ones, and those of a wide layer between narrow ones, by an order of elimination
    that all samples share. An unstable equilibrium, which only amplifiers,
    controlled sources and negative nudges can cause, counts as not converged.

    Parameters
    ----------
    rtol : float
        Residual relative to the sum of the magnitudes of its terms.
    atol : float
        Residual that is always small enough. [A], border rows [V]
    max_steps : int
        Newton steps at most, and as many with twice the digits.
    accuracy : float
        Largest bound on the error of a node's voltage, relative to the largest voltage of the sample, at which the
        sample counts as converged; 1e-18 V always do.
    """

    rtol: float = 1e-13
    atol: float = 1e-18
    max_steps: int = 200
    accuracy: float = 1e-9

    def solve_circuit(
        self,
        circuit: Circuit,
        inputs: np.ndarray,
        nudge: Nudge | None = None,
        free_outputs: np.ndarray | None = None,
        start: np.ndarray | None = None,
    ) -> CircuitState:
        system = reduced_system(circuit)
        equations = Equations.of(system, inputs, nudge, free_outputs)
        iteration = _Iteration(self, jacobian_of(system, equations.elastic is not None, equations.is_reciprocal))
        unknowns = np.zeros((len(inputs), system.n_unknowns)) if start is None else system.unknowns(start)
        outcome = _Outcome(np.zeros(len(inputs), dtype=bool), np.zeros(len(inputs), dtype=bool))
        for begin in range(0, len(inputs), iteration.chunk):
            part = np.arange(begin, min(begin + iteration.chunk, len(inputs)))
            iteration.run(equations.select(part), unknowns, part, outcome, started=start is not None)
        voltages = system.node_voltages(unknowns, equations.drive)
        bounds = error_bounds(circuit)
        law = bounds.law.residual(voltages, equations.injected_into_nodes(unknowns))
        stimulus = Stimulus(inputs, equations.elastic, equations.injected)
        allowed = allowed_error(voltages, self.accuracy)
        found = bounds.near(stimulus, voltages, bounds.far(stimulus, voltages, law), allowed, self.max_steps)
        exact = found.bound <= allowed_error(found.voltages, self.accuracy)
        iteration.judge(equations, system.unknowns(found.voltages), np.flatnonzero(exact & ~outcome.solved), outcome)
        residual = np.abs(law[0]).max(axis=1, initial=0.0)
        outcome.solved |= exact
        message = outcome.failure(residual)
        message = message or inexact_message(circuit, found.bound, found.voltages, exact, self.accuracy, _ADVICE)
        beyond, where = outside_of_laws(circuit, found.voltages)
        message = message or where or outcome.success()
        converged = exact & ~outcome.unstable & ~beyond
        return CircuitState(found.voltages, converged, residual, outcome.steps, message, found.bound)

    def solve_small_signal(
        self, circuit: Circuit, inputs: np.ndarray, voltages: np.ndarray, currents: np.ndarray
    ) -> np.ndarray:
        system = reduced_system(circuit)
        injected = apply(system.outputs.law, currents)
        return apply(system.expansion, self._linear(system, voltages, injected, transposed=False))

    def solve_adjoint(self, circuit: Circuit, voltages: np.ndarray, currents: np.ndarray) -> np.ndarray:
        # With J = L Y A the adjoint network has the law Aᵀ and the expansion Lᵀ.
        system = reduced_system(circuit)
        injected = apply(system.outputs.voltage.T, currents)
        return apply(system.law.T, self._linear(system, voltages, injected, transposed=True))

    def _linear(
        self, system: ReducedSystem, voltages: np.ndarray, injected: np.ndarray, transposed: bool
    ) -> np.ndarray:
        """Solutions of J x = injected at states, or of Jᵀ x = injected, some at a time."""
        jacobian = jacobian_of(system, symmetric=system.weights is not None)
        found, step = np.empty((len(voltages), system.n_unknowns)), jacobian.chunk
        for begin in range(0, len(voltages), step):
            part = slice(begin, begin + step)
            _, slopes = system.currents(system.control_voltages(voltages[part]))
            found[part] = jacobian.solve(jacobian.values(slopes), injected[part], transposed)
        return found


@dataclass
class _Outcome:
    """What became of every sample."""

    solved: np.ndarray
    unstable: np.ndarray
    steps: int = 0
    judged: bool = True

    def failure(self, residual: np.ndarray) -> str:
        """The status in a sentence where a sample is not solved or unstable, "" otherwise."""
        n_samples, missed = len(self.solved), np.flatnonzero(~self.solved)
        if len(missed):
            return (
                f"{len(missed)} of {n_samples} samples did not converge in {self.steps} Newton steps; the Kirchhoff "
                f"residual of sample {missed[0]} is {residual[missed[0]]:.1e} A"
            )
        if self.unstable.any():
            return (
                f"the equilibrium of {int(self.unstable.sum())} of {n_samples} samples is unstable (sample "
                f"{np.flatnonzero(self.unstable)[0]} first): a disturbance grows, so hardware would not stay there; "
                f"look for a loop gain above 1 or a negative nudge"
            )
        return ""

    def success(self) -> str:
        """The status in a sentence."""
        n_samples = len(self.solved)
        unjudged = "" if self.judged else "; too many unknowns to judge the stability"
        return f"all {n_samples} samples converged in {self.steps} Newton steps{unjudged}"


class _Iteration:
    """The loop of Newton's method over the samples that still move."""

    def __init__(self, newton: Newton, jacobian: Jacobian):
        self.newton, self.jacobian = newton, jacobian
        self.chunk = jacobian.chunk

    # Of a sample that is lost, infinite on its way, its status tells.
    @np.errstate(all="ignore")
    def run(
        self, equations: Equations, unknowns: np.ndarray, samples: np.ndarray, outcome: _Outcome, started: bool
    ) -> None:
        """Solve `samples` of the batch, whose equations these are, and write down what came out."""
        x = unknowns[samples]
        caps = equations.first_caps(x if started else None)
        self._leave_holes(equations, x, caps)
        solved, previous = np.zeros(len(x), dtype=bool), np.full(len(x), np.inf)
        moving, steps = np.arange(len(x)), 0
        best, stale = np.full(len(x), np.inf), np.zeros(len(x), dtype=np.int64)
        state = equations.at(x, caps)
        while len(moving) and steps < self.newton.max_steps:
            steps += 1
            here, now = equations.select(moving), caps[moving]
            scale = here.scale(x[moving], state)
            settled, previous[moving] = self._settled(state, scale, now, previous[moving])
            direction, length, searched, trials = self._step(here, x[moving], now, state, settled)
            singular = ~np.isfinite(direction).all(1)
            direction[singular] = 0.0
            x[moving] += length[:, None] * direction
            solved[moving] = settled & ~singular
            better = previous[moving] < 0.9 * best[moving]
            best[moving] = np.where(better, previous[moving], best[moving])
            stale[moving] = np.where(better, 0, stale[moving] + 1)
            goes_on = ~settled & ~singular & (stale[moving] < _PATIENCE)
            moving = moving[goes_on]
            if len(moving):
                state, lost = trials.after(np.flatnonzero(goes_on[searched]), length[goes_on])
                self._follow(equations, x, caps, moving, state, lost)
        unknowns[samples], outcome.solved[samples] = x, solved
        outcome.steps = max(outcome.steps, steps)
        self._judge(equations.select(np.flatnonzero(solved)), x[solved], samples[solved], outcome)

    def _follow(
        self,
        equations: Equations,
        x: np.ndarray,
        caps: np.ndarray,
        moving: np.ndarray,
        state: State,
        lost: np.ndarray,
    ) -> None:
        """Make `state` that of the moving samples, some of which are `lost`, with caps that are raised, in place."""

        def renew(which: np.ndarray) -> None:
            samples = moving[which]
            if len(samples):
                state.put(np.flatnonzero(which), equations.select(samples).at(x[samples], caps[samples]))

        renew(lost)
        before = caps[moving]
        raised = equations.raised(before, state.volts)
        if raised is not before:
            caps[moving] = raised
            renew((raised != before).any(1))

    def _leave_holes(self, equations: Equations, x: np.ndarray, caps: np.ndarray) -> None:
        """Step, in place, the samples where a law is not finite by the branches that are, until every law is."""
        if not equations.system.has_holes:
            return
        lost = np.arange(len(x))
        for _ in range(_LONGEST_CHAIN):
            here = equations.select(lost)
            state, holes = here.around_holes(x[lost], caps[lost])
            if not holes.any():
                return
            direction = self.jacobian.solve(self.jacobian.values(state.slopes), -state.residual)
            stepped = holes & np.isfinite(direction).all(1)
            lost = lost[stepped]
            x[lost] += direction[stepped]
            caps[lost] = equations.raised(caps[lost], equations.select(lost).volts(x[lost]))

    def judge(self, equations: Equations, unknowns: np.ndarray, samples: np.ndarray, outcome: _Outcome) -> None:
        """Judge the stability of `samples` of the batch, whose equations and unknowns these are."""
        for part in np.array_split(samples, -(-len(samples) // self.chunk)) if len(samples) else []:
            self._judge(equations.select(part), unknowns[part], part, outcome)

    def _judge(self, equations: Equations, x: np.ndarray, samples: np.ndarray, outcome: _Outcome) -> None:
        if not len(samples) or equations.is_convex:
            return
        stable, judged = _stable(self.jacobian, equations, x)
        outcome.unstable[samples] = ~stable
        outcome.judged &= judged

    def _settled(
        self, state: State, scale: np.ndarray, caps: np.ndarray, previous: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Which samples need only one more step, and the relative residuals."""
        excess = np.abs(state.residual) - self.newton.atol
        relative = (excess / np.maximum(scale, np.finfo(np.float64).tiny)).max(axis=1, initial=0.0)
        small = (relative <= self.newton.rtol) | ((relative <= _STALLED) & (relative > 0.5 * previous))
        return small & (state.volts <= caps).all(1), relative

    def _step(
        self, equations: Equations, x: np.ndarray, caps: np.ndarray, state: State, settled: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray, Trials]:
        """Newton's direction, how far to go along it, which samples were searched, and what was found there.

        Settled samples go all the way.
        """
        values = self.jacobian.values(state.slopes)
        direction = self.jacobian.solve(values, -state.residual)
        length = np.ones(len(x))
        searched = np.flatnonzero(~settled & np.isfinite(direction).all(1))
        evaluate = Trials(equations.select(searched), x[searched], caps[searched], direction[searched])
        if not len(searched):
            return direction, length, searched, evaluate
        ahead = direction[searched]
        if equations.is_convex and self.jacobian.weights is not None:
            length[searched] = search_convex(evaluate, state.residual[searched], ahead, self.jacobian.weights)
        else:
            norms = self.jacobian.row_norms(values[searched])
            length[searched] = search_residual(evaluate, state.residual[searched], norms)
        return direction, length, searched, evaluate
