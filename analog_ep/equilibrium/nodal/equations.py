"""The reduced equations of one batch, with its inputs and nudge, and with its junctions kept from overflowing."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from analog_ep.equilibrium.nodal.assembly import apply
from analog_ep.equilibrium.nodal.reduction import Drive, ReducedSystem
from analog_ep.errors import StimulusError
from analog_ep.stimulus import Nudge


@dataclass(frozen=True)
class State:
    """The equations at a point.

    Attributes
    ----------
    residual : ndarray (n_samples, n_unknowns)
        F. [A], border rows [V]
    slopes : ndarray (n_samples, n_slopes)
        Slopes of the nonlinear branches by their controls, as `Jacobian.values` takes them. [S]
    volts : ndarray (n_samples, n_controls)
        Voltages that control the nonlinear branches. [V]
    current : ndarray (n_samples, n_nonlinear)
        Currents of the nonlinear branches. [A]
    nudge : ndarray (n_samples, n_outputs) or None
        The nudge's currents into v₊ and out of v₋. [A]
    """

    residual: np.ndarray
    slopes: np.ndarray
    volts: np.ndarray
    current: np.ndarray
    nudge: np.ndarray | None

    def select(self, samples: np.ndarray) -> State:
        """The state of some samples; itself where these are all of them."""
        if len(samples) == len(self.volts) and (samples == np.arange(len(samples))).all():
            return self
        chosen = {name: None if values is None else values[samples] for name, values in vars(self).items()}
        return replace(self, **chosen)

    def put(self, samples: np.ndarray, others: State) -> None:
        """Replace the state of some samples, in place, by `others`."""
        for own, new in zip(vars(self).values(), vars(others).values(), strict=True):
            if own is not None:
                own[samples] = new


class Equations:
    """F of a batch: the reduced system with its sources and its nudge.

    An exponential is followed only up to a cap; beyond it the current goes on along its tangent. Newton's method on
    the capped equations cannot overflow, and they are those of the circuit once no control is above its cap. Raising
    the cap to the voltage at which the exponential carries the tangent's current is SPICE's junction limiting
    (``DEVpnjlim``) with the node voltages kept consistent.

    Parameters
    ----------
    system : ReducedSystem
        The circuit.
    drive : Drive
        Its sources for the batch.
    injected : ndarray (n_samples, n_outputs) or None
        Constant current into v₊ and out of v₋ of each output: a frozen nudge. [A]
    elastic : Nudge or None
        A nudge that follows the outputs.
    """

    def __init__(
        self, system: ReducedSystem, drive: Drive, injected: np.ndarray | None = None, elastic: Nudge | None = None
    ):
        self.system, self.drive, self.injected, self.elastic = system, drive, injected, elastic

    @classmethod
    def of(
        cls, system: ReducedSystem, inputs: np.ndarray, nudge: Nudge | None, free_outputs: np.ndarray | None
    ) -> Equations:
        """The equations for inputs and a nudge, as `CircuitSolver.solve_circuit` takes them.

        Raises
        ------
        StimulusError
            If there is nothing to nudge, or a frozen nudge comes without the free outputs.
        """
        drive = system.drive(inputs)
        if nudge is None:
            return cls(system, drive)
        if not drive.outputs.shape[1]:
            raise StimulusError("a nudge needs a circuit with outputs, found none; declare them with set_outputs")
        if nudge.kind == "elastic":
            return cls(system, drive, elastic=nudge)
        if free_outputs is None:
            raise StimulusError("a frozen nudge needs the outputs of the free state, found none; solve that first")
        return cls(system, drive, nudge.current(torch.tensor(free_outputs)).numpy())

    @property
    def is_reciprocal(self) -> bool:
        """Whether diag(weights) J is symmetric: where there is an energy, and the nudge can be part of it."""
        weights = self.system.output_weights
        return self.system.weights is not None and (
            self.elastic is None or weights is None or bool((weights == weights.flat[0]).all())
        )

    @property
    def is_convex(self) -> bool:
        """Whether F is the gradient of a convex function."""
        return self.is_reciprocal and self.system.is_passive and (self.elastic is None or self.elastic.strength >= 0)

    def select(self, samples: np.ndarray) -> Equations:
        """The equations of some samples."""
        injected = None if self.injected is None else self.injected[samples]
        elastic = self.elastic
        if elastic is not None:
            elastic = replace(elastic, target=elastic.target[torch.from_numpy(samples)])
        return Equations(self.system, self.drive.select(samples), injected, elastic)

    def volts(self, unknowns: np.ndarray) -> np.ndarray:
        """Voltages that control the nonlinear branches, `(n_samples, n_controls)`. [V]"""
        return self.system.control_voltages(self.system.node_voltages(unknowns, self.drive))

    def output_currents(self, unknowns: np.ndarray) -> np.ndarray | None:
        """Currents of the nudge into v₊ and out of v₋, `(n_samples, n_outputs)`; None without a nudge. [A]"""
        if self.elastic is None:
            return self.injected
        return self.elastic.current(self._outputs(unknowns)).numpy()

    def injected_into_nodes(self, unknowns: np.ndarray) -> np.ndarray | None:
        """The nudge's currents into all nodes, `(n_samples, n_nodes)`. [A]"""
        currents = self.output_currents(unknowns)
        return None if currents is None else apply(self.system.outputs.incidence, currents)

    def _outputs(self, unknowns: np.ndarray) -> Tensor:
        return torch.from_numpy(apply(self.system.outputs.voltage, unknowns) + self.drive.outputs)

    def at(self, unknowns: np.ndarray, caps: np.ndarray | None = None) -> State:
        """Evaluate F and the slopes, with the controls capped at `caps` `(n_samples, n_controls)` [V] where given."""
        volts = self.volts(unknowns)
        return self._state(unknowns, volts, *self.system.currents(volts, caps))

    def around_holes(self, unknowns: np.ndarray, caps: np.ndarray) -> tuple[State, np.ndarray]:
        """`at` with the currents and slopes left out that are not finite there, and the samples with such ones.

        A law may divide by a voltage that is 0 V before the first step; the other branches then say what it becomes.
        """
        volts = self.volts(unknowns)
        current, slopes = self.system.currents(volts, caps)
        lost = ~(np.isfinite(current).all(axis=1) & np.isfinite(slopes).all(axis=1))
        if lost.any():
            current, slopes = (np.where(np.isfinite(values), values, 0.0) for values in (current, slopes))
        return self._state(unknowns, volts, current, slopes), np.asarray(lost)

    def _state(self, unknowns: np.ndarray, volts: np.ndarray, current: np.ndarray, slopes: np.ndarray) -> State:
        system = self.system
        residual = apply(system.matrix, unknowns) + self.drive.residual + system.into_unknowns(current)
        nudge = self.output_currents(unknowns)
        if nudge is not None:
            residual = residual - apply(system.outputs.law, nudge)
        if self.elastic is not None:
            curvature = self.elastic.strength * self.elastic.cost.hessian(self._outputs(unknowns))
            slopes = np.concatenate([slopes, curvature.reshape(len(unknowns), -1).numpy()], axis=1)
        return State(residual, slopes, volts, current, nudge)

    def scale(self, unknowns: np.ndarray, state: State) -> np.ndarray:
        """Sum of the magnitudes of the terms of F, `(n_samples, n_unknowns)`."""
        matrix, _, outputs = self.system.magnitudes
        total = apply(matrix, np.abs(unknowns)) + np.abs(self.drive.residual)
        total += self.system.sizes_at_unknowns(state.current)
        return total if state.nudge is None else total + apply(outputs, np.abs(state.nudge))

    def first_caps(self, unknowns: np.ndarray | None) -> np.ndarray:
        """`ReducedSystem.first_caps`, and one growth voltage of headroom over the voltages to begin from. [V]"""
        growth, caps = self.system.growth, self.system.first_caps
        if unknowns is None:
            return np.tile(caps, (len(self.drive.nodes), 1))
        return np.maximum(growth + np.clip(self.volts(unknowns), 0.0, _HIGHEST_START * growth), caps)

    def raised(self, caps: np.ndarray, volts: np.ndarray) -> np.ndarray:
        """Caps where the exponential carries the tangent's current, with one growth voltage to spare. [V]"""
        if not (beyond := volts > caps).any():
            return caps
        excess = np.maximum(volts - caps, 0.0) / self.system.growth
        return np.where(beyond, caps + self.system.growth * (np.log1p(excess) + 1), caps)


_HIGHEST_START = 40.0
"""Where to begin at most, in growth voltages: higher ones are climbed to, and the exponential stays harmless."""
