"""How far node voltages, found by any solver, lie from the solution of the circuit."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from functools import cached_property
from weakref import WeakKeyDictionary

import numpy as np
import torch
from scipy.sparse.linalg import LinearOperator, onenormest

from analog_ep.circuit import Circuit
from analog_ep.equilibrium.nodal.assembly import apply
from analog_ep.equilibrium.nodal.enclosure import enclosed
from analog_ep.equilibrium.nodal.energy_bound import EnergyBound
from analog_ep.equilibrium.nodal.equations import Equations
from analog_ep.equilibrium.nodal.exact_state import exact_state
from analog_ep.equilibrium.nodal.jacobian import jacobian_of
from analog_ep.equilibrium.nodal.reduction import ReducedSystem, reduced_system, system_of_origin
from analog_ep.equilibrium.nodal.residual import KirchhoffLaw
from analog_ep.equilibrium.nodal.samples import Stimulus
from analog_ep.equilibrium.nodal.spectrum import nearest_weights
from analog_ep.equilibrium.nodal.tableau import Branching
from analog_ep.equilibrium.nodal.uncertainty import current_uncertainty, sum_uncertainty

_REFINED = 2500
"""Nodes and sources' currents up to which a sample is refined and its solution enclosed."""

_ENCLOSED = 600
"""Of these, up to which a batch is enclosed in float64 first: larger inverses cost what twice the digits do."""

_CLOSE = 1e-3
"""Share of the error allowed within which states stay as they are that may be replaced by more exact ones."""

_STEPS = 60
"""Of Newton's method to the solution next to a state."""

_ESTIMATED = 3.0
"""Factor on estimates of a norm, which are lower bounds that hardly ever are this far from the truth."""


@dataclass(frozen=True, eq=False)
class VoltageBounds:
    """Node voltages with bounds on their errors.

    Attributes
    ----------
    bound : ndarray (n_samples,)
        Most that a node's voltage is off; infinite where nothing is known. [V]
    voltages : ndarray (n_samples, n_nodes)
        The voltages that it is about. [V]
    """

    bound: np.ndarray
    voltages: np.ndarray


class ErrorBounds:
    """The bounds of one circuit, for any solver.

    The bound is on the distance of every node voltage from the solution of the circuit as it is described: its
    conductances, gains and device parameters as float64 numbers, the diodes by their laws. It is formed at one of four
    levels, the first one that is good enough:

    1. `EnergyBound`, a matrix product a batch, where the circuit has an energy (chips with mismatch of their gains
       included): it holds for any distance.
    2. `enclosed`, up to 600 nodes and sources: the solutions next to all samples are enclosed in float64, in tree
       voltages. This too holds.
    3. `exact_state`, up to 2,500 nodes and sources: the sample is solved anew with twice the digits, and the solution
       next to it enclosed.
    4. An estimate of the norm of the inverse Jacobian, in larger circuits: no proof; estimates this large, three times
       what the norm is found to be, are hardly ever exceeded.

    In all of them the rounding of long sums counts as eight of its standard deviations, not as its worst case.

    Parameters
    ----------
    circuit : Circuit
        One that `check_circuit` accepts.
    system : ReducedSystem
        Its equations.
    """

    def __init__(self, circuit: Circuit, system: ReducedSystem):
        self.system = system
        # Not the circuit itself, so that what is kept for as long as it lives does not keep it alive.
        self._parts = circuit.title, circuit.node_names, circuit.groups, circuit.outputs
        self.energy = EnergyBound(circuit, system, self._weights())

    def with_laws(self, circuit: Circuit, system: ReducedSystem) -> ErrorBounds:
        """The bounds of a circuit that differs in the laws of nonlinear branches alone, see `differs_in_laws`."""
        bounds = copy.copy(self)
        bounds.system = system
        bounds._parts = circuit.title, circuit.node_names, circuit.groups, circuit.outputs
        bounds.energy = self.energy.with_laws(circuit, system)
        bounds.__dict__["law"] = self.law.with_laws(circuit)
        bounds.__dict__.pop("branching", None)
        return bounds

    @cached_property
    def law(self) -> KirchhoffLaw:
        """Kirchhoff's law of the circuit."""
        return KirchhoffLaw(Circuit(*self._parts))

    @cached_property
    def branching(self) -> Branching:
        """The branches of the circuit."""
        return Branching(Circuit(*self._parts), self.system)

    def _weights(self) -> np.ndarray | None:
        system = self.system
        if system.weights is not None or system.n_voltages < system.n_unknowns or not system.n_unknowns:
            return system.weights
        jacobian = jacobian_of(system)
        none = np.zeros((1, jacobian.n_slopes))
        return nearest_weights(jacobian, jacobian.values(none)[0])

    def far(
        self, stimulus: Stimulus, voltages: np.ndarray, law: tuple[np.ndarray, np.ndarray] | None = None
    ) -> np.ndarray:
        """Bounds of the first kind, `(n_samples,)`; infinite where there are none. [V]

        Parameters
        ----------
        stimulus : Stimulus
            Inputs and nudge of the batch.
        voltages : ndarray (n_samples, n_nodes)
            States; NaN for samples without one. [V]
        law : (ndarray, ndarray), optional
            What `kirchhoff_residual` says of the states, where it is known. [A]
        """
        known = np.flatnonzero(np.isfinite(voltages).all(axis=1))
        bound = np.full(len(voltages), np.inf)
        if not self.energy.serves(stimulus.nudge) or not len(known):
            return bound
        if len(known) < len(voltages):
            stimulus, voltages = stimulus.select(known), voltages[known]
            law = None if law is None else (law[0][known], law[1][known])
        currents = self._currents(stimulus, voltages)
        if law is None:
            injected = None if currents is None else apply(self.system.outputs.incidence, currents)
            law = self.law.residual(voltages, injected)
        sources = np.concatenate([stimulus.inputs, np.ones((len(voltages), 1))], axis=1)
        with np.errstate(all="ignore"):
            found = self.energy.bounds(sources, voltages, *law, stimulus.nudge, currents)
        bound[known] = _or_infinite(found)
        return bound

    def quick(
        self, stimulus: Stimulus, voltages: np.ndarray, magnitude: np.ndarray, scale: np.ndarray
    ) -> np.ndarray | None:
        """Looser bounds than `far`, in a fraction of the time, `(n_samples,)`; None where there are none. [V]

        Parameters
        ----------
        stimulus : Stimulus
            Inputs and nudge of the batch.
        voltages : ndarray (n_samples, n_nodes)
            States, with the sources' own voltages. [V]
        magnitude, scale : ndarray (n_samples, n_nodes)
            Magnitude of what `kirchhoff_residual` calls residual, and the scale. [A]
        """
        if stimulus.nudge is not None or not self.energy.has_quick:
            return None
        with np.errstate(all="ignore"):
            return _or_infinite(self.energy.quick(voltages, magnitude, scale))

    def near(
        self, stimulus: Stimulus, voltages: np.ndarray, bound: np.ndarray, allowed: np.ndarray, max_steps: int = 0
    ) -> VoltageBounds:
        """Better bounds for the samples whose bound is not within what is allowed.

        Parameters
        ----------
        stimulus, voltages
            As for `far`.
        bound : ndarray (n_samples,)
            What is known already. [V]
        allowed : ndarray (n_samples,)
            Error that is small enough. [V]
        max_steps : int
            Where it is not 0, states that are not known a thousand times better than allowed are replaced by more exact
            ones that Newton's method reaches from them in so many steps.
        """
        bound, found = bound.copy(), voltages.copy()
        known = np.isfinite(voltages).all(axis=1)
        rest = np.flatnonzero(known & ~(bound <= allowed))
        if len(rest) and self.branching.size <= _ENCLOSED:
            bound[rest] = np.minimum(bound[rest], enclosed(self.branching, stimulus.select(rest), voltages[rest]))
        enough = _CLOSE * allowed if max_steps else allowed
        for sample in rest[~(bound[rest] <= enough[rest])]:
            one = stimulus.select(np.array([sample]))
            if self.branching.size > _REFINED:
                bound[sample] = min(bound[sample], self._estimate(one, voltages[sample]))
                continue
            exact = exact_state(self.branching, one.sample(), voltages[sample], max_steps or _STEPS)
            distance = exact.bound + (0.0 if max_steps else np.abs(exact.voltages - voltages[sample]))
            if distance.max() < bound[sample]:
                bound[sample] = distance.max()
                found[sample] = exact.voltages if max_steps else voltages[sample]
        return VoltageBounds(bound, found)

    def _currents(self, stimulus: Stimulus, voltages: np.ndarray) -> np.ndarray | None:
        """Of the nudge into v₊ and out of v₋. [A]"""
        if stimulus.nudge is None:
            return stimulus.injected
        outputs = self._parts[-1]
        assert outputs is not None
        positive, negative = outputs
        return stimulus.nudge.current(torch.from_numpy(voltages[:, positive] - voltages[:, negative])).numpy()

    def _estimate(self, stimulus: Stimulus, voltages: np.ndarray) -> float:
        """Three times the estimated largest component of |J⁻¹| (|F| + its uncertainty), for one sample. [V]"""
        system = self.system
        equations = Equations(system, system.drive(stimulus.inputs), stimulus.injected, stimulus.nudge)
        unknowns = system.unknowns(voltages[None])
        state = equations.at(unknowns)
        jacobian = jacobian_of(system, stimulus.nudge is not None)
        values = jacobian.values(state.slopes)
        slopes = state.slopes[:, : state.volts.shape[1]]
        size = np.abs(state.volts) + np.abs(voltages).max(initial=0.0)
        doubt = current_uncertainty(system.groups, state.volts, state.current, slopes, size)
        doubt = system.sizes_at_unknowns(doubt) + sum_uncertainty(len(voltages)) * equations.scale(unknowns, state)
        force = (np.abs(state.residual) + doubt)[0]
        solve = jacobian.factorised(values[0])
        operator = LinearOperator(  # pyright: ignore[reportCallIssue]
            (len(force), len(force)),
            matvec=lambda x: force * solve(np.ravel(x), True),  # pyright: ignore[reportCallIssue]
            rmatvec=lambda x: solve(force * np.ravel(x), False),  # pyright: ignore[reportCallIssue]
            dtype=np.float64,  # pyright: ignore[reportCallIssue]
        )
        reach = float(np.asarray(abs(system.expansion).sum(axis=1)).max(initial=1.0))
        with np.errstate(all="ignore"):
            found = _ESTIMATED * reach * float(onenormest(operator))  # pyright: ignore[reportArgumentType]
        return found if np.isfinite(found) else np.inf


def _or_infinite(bound: np.ndarray) -> np.ndarray:
    """Where an exponential overflows, or a bound leaves the range of numbers, nothing is known."""
    return np.where(np.isfinite(bound), bound, np.inf)


_BOUNDS: WeakKeyDictionary[Circuit, ErrorBounds] = WeakKeyDictionary()
_OF_ORIGINS: WeakKeyDictionary[Circuit, ErrorBounds] = WeakKeyDictionary()


def error_bounds(circuit: Circuit) -> ErrorBounds:
    """The bounds of a circuit's errors, formed once for each circuit."""
    if circuit not in _BOUNDS:
        system, origin = reduced_system(circuit), circuit.origin
        shared = system_of_origin(circuit)
        if origin is None or shared is None:
            _BOUNDS[circuit] = ErrorBounds(circuit, system)
        else:
            if origin not in _OF_ORIGINS:
                _OF_ORIGINS[origin] = ErrorBounds(origin, shared)
            _BOUNDS[circuit] = _OF_ORIGINS[origin].with_laws(circuit, system)
    return _BOUNDS[circuit]
