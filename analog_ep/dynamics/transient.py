"""Transients of a circuit with capacitors and inductors, integrated in PyTorch from the reduced Kirchhoff equations."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from scipy.sparse import csr_array
from torch import Tensor

from analog_ep.circuit import ChargeLaw, Circuit, FluxLaw
from analog_ep.equilibrium.nodal.reduction import ReducedSystem, reduced_system
from analog_ep.errors import ConvergenceError, StimulusError

_GAMMA = 0.25
_STAGES = (
    (),
    (1 / 2,),
    (17 / 50, -1 / 25),
    (371 / 1360, -137 / 2720, 15 / 544),
    (25 / 24, -49 / 48, 125 / 16, -85 / 12),
)
_ERROR = (25 / 24 - 59 / 48, -49 / 48 + 17 / 96, 125 / 16 - 225 / 32, 0.0, 1 / 4)
"""Weights of the last stage less those of the embedded third-order formula."""

_NEWTON_STEPS = 12
_FIRST, _SHORTEST, _JUMP = 1e-6, 1e-14, 1e-12
"""Relative to the duration: first and shortest step, and the time in which unknowns without inertia follow a start."""


@dataclass(frozen=True, eq=False)
class Transient:
    """Node voltages over time.

    Attributes
    ----------
    times : ndarray (n_times,)
        From 0, not equidistant. [s]
    voltages : ndarray (n_times, n_nodes)
        Ground first; the first row is the given start. [V]
    """

    times: np.ndarray
    voltages: np.ndarray


def transient(
    circuit: Circuit,
    inputs: np.ndarray,
    duration: float,
    *,
    start: np.ndarray | None = None,
    rtol: float = 1e-6,
    atol: float = 1e-9,
    points: int = 500,
) -> Transient:
    r"""Integrate C dV/dt = −F(V) from given node voltages while the sources stand at one sample's values.

    Inductors begin without a current. F are the equations of `ReducedSystem`, in float64: what has no dynamics follows
    at once. The method is the stiffly accurate SDIRK of order 4 with γ = 1/4 and an embedded formula of order 3 [1]_;
    stages are solved by Newton's method. Between the ends of steps stand cubic Hermite interpolants.

    Parameters
    ----------
    circuit : Circuit
        With capacitors or inductors.
    inputs : ndarray (n_inputs,)
        Inputs, switched on at time 0. [V]
    duration : float
        [s]
    start : ndarray (n_nodes,), optional
        Node voltages at time 0; by default all are discharged. [V]
    rtol, atol : float
        Error of a step, relative and absolute [V].
    points : int
        Times at least, so that linear interpolation between them is close.

    Raises
    ------
    CircuitError
        See `check_circuit`.
    StimulusError
        If the circuit has no capacitors, or the duration is not positive.
    ConvergenceError
        If no step is short enough, or nodes without capacitors have no solution at the start.

    References
    ----------
    .. [1] E. Hairer and G. Wanner, "Solving Ordinary Differential Equations II," 2nd ed., Springer, 1996, table IV.6.5.
    """
    _require_transient(circuit, duration, points)
    equations = _Dynamics(circuit, np.asarray(inputs, dtype=np.float64))
    begin = np.zeros(circuit.n_nodes) if start is None else np.asarray(start, dtype=np.float64)
    state = equations.after_jump(torch.from_numpy(equations.system.unknowns(begin[None])[0]), _JUMP * duration, atol)
    times, states = _integrated(equations, state, duration, rtol, atol, points)
    return Transient(times, np.concatenate([begin[None], equations.node_voltages(states[1:])]))


def _require_transient(circuit: Circuit, duration: float, points: int) -> None:
    if not 0 < duration < float("inf") or points < 1:
        raise StimulusError(f"a transient needs a positive duration and points, found {duration} s and {points}")
    if not circuit.of_kind(ChargeLaw) and not circuit.of_kind(FluxLaw):
        raise StimulusError(f"a transient needs capacitors, found none in {circuit.title!r}")


def _integrated(
    equations: _Dynamics, state: Tensor, duration: float, rtol: float, atol: float, points: int
) -> tuple[np.ndarray, np.ndarray]:
    """Times [s], and the unknowns at each, `(n_times, n_unknowns)`."""
    time, step, slope = 0.0, duration * _FIRST, None
    times, states = [np.zeros(1)], [state[None]]
    while time < duration:
        step, found = equations.accepted(state, time, min(step, duration - time), rtol, atol, _SHORTEST * duration)
        # The remainder may be so short that it is lost in the sum: the last time is the duration itself.
        end = duration if step >= duration - time else time + step
        share = torch.linspace(0, 1, 1 + math.ceil(points * step / duration), dtype=torch.float64)[1:]
        times.append(time + step * share[:-1].numpy())
        times.append(np.array([end]))
        states.append(_interpolated(state, slope, found, step, share))
        time, state, slope = end, found.state, found.change / step
        step *= min(4.0, 0.9 * max(found.error, 1e-4) ** -0.25)
    return np.concatenate(times), torch.cat(states).numpy()


class _Step(NamedTuple):
    """State after a step, its derivative there times the step, and the error in units of the tolerance."""

    state: Tensor
    change: Tensor
    error: float


def _interpolated(state: Tensor, slope: Tensor | None, found: _Step, step: float, share: Tensor) -> Tensor:
    """States `(n_shares, n_unknowns)` at shares of a step; the first step is too short to know its first slope."""
    s, rise = share[:, None], found.state - state
    if slope is None:
        return state + s * rise
    first, last = step * slope - rise, found.change - rise
    return state + s * rise + s * (1 - s) * ((1 - s) * first - s * last)


class _Dynamics:
    """C, F and its Jacobian of one sample, as dense matrices in float64."""

    def __init__(self, circuit: Circuit, inputs: np.ndarray):
        self._title = circuit.title
        self.system: ReducedSystem = reduced_system(circuit)
        system = self.system
        self._drive = system.drive(inputs[None])
        self.capacitance = _dense(system.inertia)
        # A current of an inductor has a course of its own; it is told as finely as the largest conductance asks.
        inductive = [system.current_unknowns[group.label] for group in circuit.of_kind(FluxLaw)]
        self.moving = np.concatenate([np.arange(system.n_voltages), *inductive])
        scale = np.ones(system.n_unknowns)
        scale[system.n_voltages :] = np.abs(system.matrix.diagonal()[: system.n_voltages]).max(initial=1e-12)
        self.scale = torch.from_numpy(scale)
        self._matrix = _dense(system.matrix)
        self._law, self._controls = _dense(system.nonlinear.law), _dense(system.controls.voltage)
        self._constant = torch.from_numpy(self._drive.residual[0])
        self._still = system.control_voltages(self._drive.nodes)[0]

    def node_voltages(self, states: np.ndarray) -> np.ndarray:
        """Voltages of all nodes, `(n_times, n_nodes)`, from the unknowns at each time."""
        system = self.system
        return states @ system.expansion.T + self._drive.sources @ system.source_expansion.T

    def after_jump(self, state: Tensor, time: float, atol: float) -> Tensor:
        """The state in which the unknowns without inertia have followed the sources, and nothing else has moved."""
        found = self._stage(state, state, time / _GAMMA, 0.01 * atol * self.scale)
        if found is None:
            raise ConvergenceError(
                f"{self._title!r} must have a state at the start, found none; give every node at a diode a capacitor"
            )
        return found

    def accepted(
        self, state: Tensor, time: float, step: float, rtol: float, atol: float, shortest: float
    ) -> tuple[float, _Step]:
        """The first step, of the given length or a shorter one, whose error is within the tolerance; and its length."""
        while True:
            found = self.step(state, step, rtol, atol)
            if found is not None and found.error <= 1:
                return step, found
            step *= 0.25 if found is None else max(0.2, 0.9 * found.error**-0.25)
            if step < shortest:
                raise ConvergenceError(
                    f"{self._title!r} must have a smooth transient, found no step short enough at {time:.3g} s"
                )

    def step(self, state: Tensor, step: float, rtol: float, atol: float) -> _Step | None:
        """One step; None where Newton's method fails."""
        changes: list[Tensor] = []
        tolerance = atol * self.scale + rtol * state.abs()
        value = state
        for weights in _STAGES:
            base = state + sum((w * change for w, change in zip(weights, changes, strict=True)), 0.0 * state)
            solved = self._stage(base, value, step, 0.01 * tolerance)
            if solved is None:
                return None
            value = solved
            changes.append((value - base) / _GAMMA)
        error = sum((w * change for w, change in zip(_ERROR, changes, strict=True)), 0.0 * state)
        # The other currents among the unknowns follow without dynamics of their own.
        scaled = (error / torch.maximum(tolerance, atol * self.scale + rtol * value.abs()))[self.moving]
        return _Step(value, changes[-1], float(scaled.square().mean().sqrt()))

    def _stage(self, base: Tensor, guess: Tensor, step: float, tolerance: Tensor) -> Tensor | None:
        """Solve C (Y − base)/(γ h) + F(Y) = 0 for Y."""
        inertia, value = self.capacitance / (_GAMMA * step), guess
        for _ in range(_NEWTON_STEPS):
            residual, jacobian = self._equations(value)
            residual = residual + inertia @ (value - base)
            change, failed = torch.linalg.solve_ex(inertia + jacobian, residual)
            if int(failed) or not bool(torch.isfinite(change).all()):
                return None
            value = value - change
            if bool((change.abs() <= tolerance)[self.moving].all()):
                return value
        return None

    def _equations(self, state: Tensor) -> tuple[Tensor, Tensor]:
        volts = (self._controls @ state).numpy() + self._still
        current, slopes = (torch.from_numpy(a[0]) for a in self.system.currents(volts[None]))
        residual = self._matrix @ state + self._constant + self._law @ current
        by_control = self._law[:, torch.from_numpy(self.system.controlled)]
        return residual, self._matrix + by_control @ (slopes[:, None] * self._controls)


def _dense(matrix: csr_array) -> Tensor:
    return torch.from_numpy(matrix.toarray())
