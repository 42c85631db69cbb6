"""What a solver returns, and the interface every solver has."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from html import escape
from typing import Any, ClassVar, Self

import torch
from torch import Tensor

from analog_ep.circuit import Chip, Circuit
from analog_ep.equilibrium.layered.sweeps import Status
from analog_ep.equilibrium.oscillation import Oscillation, Swing
from analog_ep.errors import ConvergenceError, StimulusError
from analog_ep.networks.network import Network
from analog_ep.ngspice.process import EngineReport
from analog_ep.stimulus import Nudge, all_finite, as_inputs, require_finite
from analog_ep.support.shown import rows_table

_SHOWN = 10
"""Samples whose outputs notebooks show."""


@dataclass(frozen=True, eq=False, repr=False)
class Equilibrium:
    """The steady state of a network or circuit under inputs and, perhaps, a nudge.

    Attributes
    ----------
    system : Network or Circuit
        What was solved.
    inputs : Tensor (*batch, n_inputs)
        Inputs. [V]
    layers : tuple of Tensor (*batch, n_units)
        Voltages of the hidden layers and the output layer (v₊ then v₋) of a network, or the states of its units; empty
        for a bare circuit. [V]
    outputs : Tensor (*batch, n_outputs)
        Differential outputs o = v₊ − v₋, or the states of the output units. [V]
    converged : Tensor (*batch,)
        Whether each sample met its tolerance, bool.
    residual : Tensor (*batch,)
        Largest Kirchhoff residual over the nodes, or largest projected force on a unit, as the solver saw it at its
        end. [A]
    iterations : int
        Iterations, sweeps or, for a simulator, analyses.
    message : str
        The status in a sentence.
    nudge : Nudge or None
        What nudged it; None for the free state.
    chip : Chip or None
        The piece of hardware it was solved for.
    """

    system: Network | Circuit
    inputs: Tensor
    layers: tuple[Tensor, ...]
    outputs: Tensor
    converged: Tensor
    residual: Tensor
    iterations: int
    message: str
    nudge: Nudge | None = None
    chip: Chip | None = None
    node_voltages: Callable[[], Tensor] = field(repr=False, default=lambda: torch.empty(0))
    reference: tuple[Equilibrium, tuple[Tensor, ...]] | None = field(repr=False, default=None)
    """The free state this one was solved about, with the response, where the solver found the response itself."""
    error_bounds: Callable[[], Tensor] | None = field(repr=False, default=None)
    """How `voltage_error_bound` is formed; None for a system that is no circuit."""
    workings: object = field(repr=False, default=None)
    """What the solver may use again when it nudges this state."""

    @classmethod
    def of_layers(
        cls, network: Network, inputs: Tensor, layers: tuple[Tensor, ...], status: Status, **others: Any
    ) -> Self:
        """What a layered solver found and how it ended; `others` are further fields."""
        return cls(
            system=network,
            inputs=inputs,
            layers=layers,
            outputs=network.outputs_of(layers),
            converged=status.converged,
            residual=status.residual,
            iterations=status.sweeps,
            message=status.message,
            **others,
        )

    def __repr__(self) -> str:
        phase = "free" if self.nudge is None else f"nudged by {self.nudge.strength:g}"
        good, samples = int(self.converged.sum()), self.converged.numel()
        worst = float(self.residual.max()) if samples else 0.0
        return (
            f"Equilibrium of a {type(self.system).__name__}, {phase}: {good} of {samples} samples converged, outputs "
            f"{tuple(self.outputs.shape)}, largest residual {worst:.1e}, {self.message}"
        )

    def _repr_html_(self) -> str:
        shown = self.outputs.detach().reshape(-1, self.outputs.shape[-1])[:_SHOWN].tolist()
        header = ["sample", *(f"output {i}" for i in range(self.outputs.shape[-1]))]
        rows = [[str(i), *(f"{volts:.6g}" for volts in row)] for i, row in enumerate(shown)]
        return f"<p>{escape(repr(self))}</p>{rows_table(header, rows)}"

    @cached_property
    def voltages(self) -> Tensor:
        """Voltages of all the circuit's nodes, ground first, `(*batch, n_nodes)`. [V]"""
        return self.node_voltages()

    @cached_property
    def voltage_error_bound(self) -> Tensor:
        """Bound on the distance of every node voltage from the exact solution of the circuit, float64 `(*batch,)`. [V]

        The exact solution is that of the circuit as it is described, with its values as float64 numbers and a frozen
        nudge's current as it was given. `Newton` and the solvers of ngspice form the bound themselves, and call a
        sample converged only where it is within their `accuracy`. `Relaxation` forms it when it is first asked for, as
        training has no use for it: it says what the tolerance of the sweeps came to in volts, the rounding of a float32
        state included, while `converged` speaks of the sweeps alone. Infinite where nothing could be verified, and for
        samples that were not solved. How it is formed, and how sure it is: see `ErrorBounds`.

        Raises
        ------
        StimulusError
            If the system is no circuit, or its parameters have changed since it was solved.
        """
        if self.error_bounds is None:
            raise StimulusError("a bound on voltages needs the state of a circuit, found another system's")
        return self.error_bounds()

    def response(self, about: Equilibrium) -> tuple[Tensor, ...]:
        """Layer voltages less those of the free state `about`. [V]

        At full relative precision where the solver solved for it about that very state (`Relaxation`); a subtraction
        otherwise.
        """
        if self.reference is not None and self.reference[0] is about:
            return self.reference[1]
        return tuple(nudged - free for nudged, free in zip(self.layers, about.layers, strict=True))

    def require_converged(self) -> Equilibrium:
        """Return self, or raise `ConvergenceError` with the message."""
        if not bool(self.converged.all()):
            raise ConvergenceError(self.message)
        return self


class Solver(ABC):
    """Finds equilibria. Solvers are small frozen objects that hold tolerances, never state."""

    in_float64: ClassVar[bool] = False
    """Whether it works in float64, whatever the precision of a network."""

    @property
    def engine(self) -> EngineReport | None:
        """The program that it lets run netlists; None for a solver that needs none."""
        return None

    @abstractmethod
    def solve(
        self,
        system: Network | Circuit,
        inputs: Tensor,
        nudge: Nudge | None = None,
        free: Equilibrium | None = None,
        chip: Chip | None = None,
    ) -> Equilibrium:
        """Solve for the equilibrium.

        Parameters
        ----------
        system : Network or Circuit
            What to solve.
        inputs : Tensor (*batch, n_inputs)
            Inputs. [V]
        nudge : Nudge, optional
            None for the free phase.
        free : Equilibrium, optional
            The free state: a frozen nudge takes its current from there (it is solved for first where it is not given),
            and solvers may start there.
        chip : Chip, optional
            Mismatch of one piece of hardware.
        """

    def small_signal(self, free: Equilibrium, error: Tensor) -> tuple[tuple[Tensor, ...], Status]:
        """Response of the layers to the force, or current, `error` `(*batch, n_outputs)` on a free state's outputs,
        linearised there.

        Raises
        ------
        StimulusError
            If the solver does not linearise, or the state is of a system that it does not solve.
        """
        raise StimulusError(
            f"states of a {type(free.system).__name__} cannot be linearised by {type(self).__name__}; use a layered "
            f"solver, Newton or Ngspice"
        )

    def adjoint(self, free: Equilibrium, error: Tensor) -> tuple[tuple[Tensor, ...], Status]:
        """Layers of the adjoint network at a free state, `error` `(*batch, n_outputs)` [A] flowing into its outputs;
        see `analog_ep.circuit.adjoint.adjoint_network`. [V]

        Raises
        ------
        StimulusError
            If the solver has no adjoint network of such a state.
        """
        raise self._no_transpose("an adjoint network", free)

    def asymmetric(
        self, free: Equilibrium, error: Tensor, nudge: Nudge | None = None
    ) -> tuple[tuple[Tensor, ...], Status]:
        """Response of the layers in the nudged phase of asymmetric equilibrium propagation about a free state.

        See `analog_ep.circuit.adjoint.asymmetric_circuit`. Without a nudge it is that to the small currents `error`
        `(*batch, n_outputs)` [A] into the outputs.

        Raises
        ------
        StimulusError
            If the solver has no such phase of such a state.
        """
        raise self._no_transpose("a corrected phase", free)

    def _no_transpose(self, what: str, free: Equilibrium) -> StimulusError:
        return StimulusError(
            f"{what} of a {type(free.system).__name__} cannot be had by {type(self).__name__}; use Relaxation of a "
            f"layered resistive network, Newton or Ngspice of any circuit"
        )

    def clamped(self, free: Equilibrium, change: Tensor) -> tuple[tuple[Tensor, ...], Status]:
        """Response of the layers when the outputs of a free state are held at theirs plus `change`
        `(*batch, n_outputs)`: at full relative precision by the layered solvers, by a subtraction otherwise.

        Raises
        ------
        StimulusError
            If the solver cannot hold outputs, or the state is of a system that it does not solve.
        """
        raise StimulusError(
            f"outputs of a {type(free.system).__name__} cannot be held by {type(self).__name__}; use a layered solver, "
            f"Newton or Ngspice"
        )

    def swing(self, free: Equilibrium, nudge: Nudge, oscillation: Oscillation) -> Swing:
        """What is read of the layers under a frozen nudge that oscillates about a free state, see `Oscillation`.

        By default the nudge is so slow that every phase is an equilibrium, and some of half a period are solved: the
        other half is the same backwards.

        Raises
        ------
        ConvergenceError
            If a phase was not solved.
        """
        mean, in_phase = free.layers, tuple(torch.zeros_like(layer) for layer in free.layers)
        for share in oscillation.cosines().tolist():
            phase = nudge.scaled(share * nudge.strength)
            nudged = self.solve(free.system, free.inputs, phase, free, free.chip).require_converged()
            response = nudged.response(about=free)
            mean = tuple(layer + d / oscillation.points for layer, d in zip(mean, response, strict=True))
            weight = 2 * share / oscillation.points
            in_phase = tuple(layer + weight * d for layer, d in zip(in_phase, response, strict=True))
        return Swing(mean, in_phase)


def solve(
    system: Network | Circuit,
    inputs: Tensor,
    nudge: Nudge | None = None,
    *,
    solver: Solver,
    start: Equilibrium | None = None,
    chip: Chip | None = None,
    throw: bool = True,
) -> Equilibrium:
    """Check inputs and nudge, then solve: see `Solver.solve`.

    Parameters
    ----------
    system, inputs, nudge, chip
        As for `Solver.solve`. Inputs and targets may be arrays, and of any real type: they are taken in the network's
        precision, and in float64 by solvers of circuits.
    solver : Solver
        What solves it.
    start : Equilibrium, optional
        The free state to nudge, or to begin from.
    throw : bool
        Raise where a sample did not converge; otherwise `Equilibrium.converged` says so.

    Raises
    ------
    StimulusError
        If inputs are not finite or have another width than the system; if the targets of the nudge or the state to
        start from are not those of the same samples.
    ConvergenceError
        If a sample did not converge and `throw` is set.
    """
    dtype, device = _precision(system, solver, inputs)
    images = ((), ()) if isinstance(system, Circuit) else system.image_shapes
    inputs = as_inputs(inputs, system.n_inputs, dtype, device, images[0])
    require_finite("inputs", inputs)
    n_outputs = system.n_outputs
    if nudge is not None and n_outputs:
        nudge = nudge.applied_to(inputs, n_outputs, images[1])
    if start is not None and start.outputs.shape != (*inputs.shape[:-1], n_outputs):
        raise StimulusError(
            f"the state to start from must be one of these samples, with outputs of shape "
            f"{(*inputs.shape[:-1], n_outputs)}, found {tuple(start.outputs.shape)}"
        )
    equilibrium = solver.solve(system, inputs, nudge, start, chip)
    return equilibrium.require_converged() if throw else equilibrium


def linear_response(free: Equilibrium, error: Tensor, *, solver: Solver) -> tuple[Tensor, ...]:
    """Response of the layers to small forces, or currents, on the outputs of a free state.

    Parameters
    ----------
    free : Equilibrium
        The free state.
    error : Tensor (*batch, n_outputs)
        Force, or current into v₊ and out of v₋ [A], of each output.
    solver : Solver
        What linearises: `Newton` by its Jacobian, `Ngspice` by ``.ac``, the layered ones on their layers.

    Raises
    ------
    StimulusError
        If `error` is not of the outputs' shape, or the solver does not linearise such a state.
    ConvergenceError
        If a sample was not solved.
    """
    _require_outputs_shape("the force on the outputs", free, error)
    response, status = solver.small_signal(free, error)
    if not status.complete:
        raise ConvergenceError(f"small-signal response: {status.message}")
    return response


@torch.no_grad()
def adjoint_response(free: Equilibrium, error: Tensor, *, solver: Solver) -> tuple[Tensor, ...]:
    """Layers of the adjoint network at a free state. [V]

    Parameters
    ----------
    free : Equilibrium
        The free state.
    error : Tensor (*batch, n_outputs)
        Current into v₊ and out of v₋ of each output. [A]
    solver : Solver
        What solves for it, see `Solver.adjoint`.

    Raises
    ------
    StimulusError
        If `error` is not of the outputs' shape, or the solver has no such network.
    ConvergenceError
        If a sample was not solved.
    """
    _require_outputs_shape("the currents of an adjoint network", free, error)
    response, status = solver.adjoint(free, error)
    if not status.complete:
        raise ConvergenceError(f"adjoint network: {status.message}")
    return response


@torch.no_grad()
def asymmetric_response(
    free: Equilibrium, error: Tensor, nudge: Nudge | None = None, *, solver: Solver
) -> tuple[Tensor, ...]:
    """Response of the layers in the nudged phase of asymmetric equilibrium propagation. [V]

    Parameters
    ----------
    free : Equilibrium
        The free state.
    error : Tensor (*batch, n_outputs)
        Small currents into the outputs, which count without a nudge. [A]
    nudge : Nudge, optional
        A finite one.
    solver : Solver
        What solves for it, see `Solver.asymmetric`.

    Raises
    ------
    StimulusError
        If `error` is not of the outputs' shape, or the solver has no such phase.
    ConvergenceError
        If a sample was not solved, rests at another equilibrium of the corrected circuit, or responds otherwise than to
        a small nudge.
    """
    _require_outputs_shape("the force on the outputs", free, error)
    response, status = solver.asymmetric(free, error, nudge)
    if not status.complete:
        raise ConvergenceError(f"asymmetric phase: {status.message}")
    return response


@torch.no_grad()
def clamped_response(free: Equilibrium, change: Tensor, *, solver: Solver) -> tuple[Tensor, ...]:
    """Layers with the outputs held at their free values plus `change`, less the free layers.

    Parameters
    ----------
    free : Equilibrium
        The free state.
    change : Tensor (*batch, n_outputs)
        Of the differential outputs. [V]
    solver : Solver
        What solves for it, see `Solver.clamped`.

    Raises
    ------
    StimulusError
        If `change` is not finite or of another shape than the outputs, or the solver cannot hold outputs.
    ConvergenceError
        If a sample did not converge.
    """
    _require_outputs_shape("the change of clamped outputs", free, change)
    response, status = solver.clamped(free, change)
    if not status.complete:
        raise ConvergenceError(f"clamped outputs: {status.message}")
    return response


def _require_outputs_shape(what: str, free: Equilibrium, values: Tensor) -> None:
    finite = all_finite(values)
    if values.shape != free.outputs.shape or not finite:
        raise StimulusError(
            f"{what} must be finite and of shape {tuple(free.outputs.shape)}, "
            f"found shape {tuple(values.shape)}{'' if finite else ' with NaN or infinity'}"
        )


def _precision(system: Network | Circuit, solver: Solver, inputs: object) -> tuple[torch.dtype, torch.device]:
    """Type and device that a solver takes the inputs of a system in: circuits are solved in float64."""
    if isinstance(system, Circuit):
        return torch.float64, inputs.device if isinstance(inputs, Tensor) else torch.device("cpu")
    like = system.precision()
    return torch.float64 if solver.in_float64 else like.dtype, like.device
