"""Linear circuits under sinusoids: phasors of all nodes, in PyTorch and by ngspice's `.ac`."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from analog_ep.circuit import Circuit, CurrentLaw, VoltageLaw, check_circuit
from analog_ep.equilibrium.nodal.reduction import reduced_system
from analog_ep.errors import CircuitError, ConvergenceError, StimulusError
from analog_ep.ngspice.ac import ac_transfer


@dataclass(frozen=True, eq=False)
class Transfer:
    """Phasors of all nodes for unit phasors, one thing driven at a time.

    Attributes
    ----------
    inputs : Tensor (n_frequencies, n_nodes, n_inputs)
        Under 1 V at each input. Complex128.
    outputs : Tensor (n_frequencies, n_nodes, n_outputs)
        Under 1 A into v₊ and out of v₋ of each output, the inputs at rest. [Ω] Complex128.
    """

    inputs: Tensor
    outputs: Tensor


class PhasorSolver(ABC):
    """Finds how a linear circuit transfers sinusoids. Solvers are small frozen objects, and hold no state."""

    @abstractmethod
    def transfer(self, circuit: Circuit, frequencies: Tensor) -> Transfer:
        """The transfers at frequencies `(n_frequencies,)` [Hz] of a circuit that `require_linear` accepts.

        Raises
        ------
        ConvergenceError
            If a frequency is that of a resonance without losses.
        """


@dataclass(frozen=True)
class NodalPhasors(PhasorSolver):
    """By the reduced equations with `inertia`, (M + jωK) x = L i − m(s) − jωK_s s, in complex128."""

    def transfer(self, circuit: Circuit, frequencies: Tensor) -> Transfer:
        system = reduced_system(circuit)
        own, driven = (torch.from_numpy(matrix.toarray()) for matrix in (system.inertia, system.source_inertia))
        omega = 2j * torch.pi * frequencies.double()[:, None, None]
        matrix = torch.from_numpy(system.matrix.toarray()) + omega * own
        # The last source is that of constant voltages, which have no phasor.
        sources = torch.from_numpy(system.source_law.toarray()) + omega * driven
        into = torch.from_numpy(system.outputs.law.toarray()).expand(len(frequencies), -1, -1)
        right = torch.cat([-sources[..., :-1], into], -1)
        found, failed = torch.linalg.solve_ex(matrix, right)
        if bool(failed.any()) or not bool(torch.isfinite(torch.view_as_real(found)).all()):
            at = float(frequencies[int(failed.argmax())])
            raise ConvergenceError(f"{circuit.title!r} must have losses, found a resonance without any at {at:g} Hz")
        nodes = torch.from_numpy(system.expansion.toarray()).to(found) @ found
        held = torch.from_numpy(system.source_expansion.toarray())[:, :-1]
        return Transfer(nodes[..., : circuit.n_inputs] + held, nodes[..., circuit.n_inputs :])


@dataclass(frozen=True)
class NgspicePhasors(PhasorSolver):
    """By ngspice's ``.ac``: one run for each input, and one for each output.

    Parameters
    ----------
    executable, timeout
        See `run_ngspice`.
    processes : int
        Runs at a time.
    """

    executable: str | Path | None = None
    timeout: float | None = 600.0
    processes: int = 1

    def transfer(self, circuit: Circuit, frequencies: Tensor) -> Transfer:
        options = {"executable": self.executable, "timeout": self.timeout, "processes": self.processes}
        found = ac_transfer(circuit, frequencies.double().numpy(), **options)
        return Transfer(*(torch.from_numpy(each) for each in found))


@dataclass(frozen=True, eq=False)
class PhasorEquilibrium:
    """Periodic steady state of a linear circuit, one phasor for each frequency: v(t) = Re Σ V e^{jωt}.

    Attributes
    ----------
    circuit : Circuit
        What was solved.
    frequencies : Tensor (n_frequencies,)
        [Hz]
    voltages : Tensor (*batch, n_frequencies, n_nodes)
        Phasors of all nodes, ground first. [V]
    transfer : Transfer
        By which it was found, and a nudged state is.
    """

    circuit: Circuit
    frequencies: Tensor
    voltages: Tensor
    transfer: Transfer

    @cached_property
    def outputs(self) -> Tensor:
        """Phasors of the differential outputs, `(*batch, n_frequencies, n_outputs)`. [V]"""
        assert self.circuit.outputs is not None
        positive, negative = (torch.from_numpy(np.array(nodes)) for nodes in self.circuit.outputs)
        return self.voltages[..., positive] - self.voltages[..., negative]

    def response(self, currents: Tensor) -> Tensor:
        """What phasors of currents into v₊ and out of v₋ `(*batch, n_frequencies, n_outputs)` [A] add to the nodes."""
        return torch.einsum("fno,...fo->...fn", self.transfer.outputs, currents.to(torch.complex128))


def phasor_equilibrium(
    circuit: Circuit, frequencies: Tensor, inputs: Tensor, *, solver: PhasorSolver | None = None
) -> PhasorEquilibrium:
    """Phasors of a circuit whose inputs are sinusoids.

    Parameters
    ----------
    circuit : Circuit
        Linear, with outputs: resistors, capacitors, inductors, sources, and controlled sources.
    frequencies : Tensor (n_frequencies,)
        Positive. [Hz]
    inputs : Tensor (*batch, n_frequencies, n_inputs)
        Phasors of the inputs, complex or real. [V]
    solver : PhasorSolver, optional
        By default `NodalPhasors()`.

    Raises
    ------
    StimulusError
        If frequencies or inputs are not as above.
    CircuitError
        If the circuit is not linear, see `require_linear`.
    ConvergenceError
        If there is no steady state.
    """
    require_linear(circuit)
    frequencies = torch.as_tensor(frequencies, dtype=torch.float64)
    if frequencies.ndim != 1 or not len(frequencies) or not bool(((frequencies > 0) & frequencies.isfinite()).all()):
        raise StimulusError(f"phasors need a list of positive frequencies, found {frequencies.tolist()} Hz")
    inputs = torch.as_tensor(inputs)
    wanted = (len(frequencies), circuit.n_inputs)
    if inputs.shape[-2:] != wanted or not bool(torch.isfinite(torch.view_as_real(inputs.to(torch.complex128))).all()):
        raise StimulusError(f"phasors of inputs must be finite and end in shape {wanted}, found {tuple(inputs.shape)}")
    transfer = (NodalPhasors() if solver is None else solver).transfer(circuit, frequencies)
    voltages = torch.einsum("fnk,...fk->...fn", transfer.inputs, inputs.to(torch.complex128))
    return PhasorEquilibrium(circuit, frequencies, voltages, transfer)


def require_linear(circuit: Circuit) -> None:
    """Refuse a circuit without outputs or with nonlinear elements.

    Raises
    ------
    CircuitError
        Naming the group; see also `check_circuit`, for inductors in a loop with sources.
    """
    check_circuit(circuit)
    if circuit.outputs is None:
        raise CircuitError(f"phasors need outputs, found none in {circuit.title!r}; declare them with set_outputs")
    for group in circuit.of_kind(CurrentLaw):
        if not group.linear:
            raise CircuitError(
                f"{group.label}: phasors need linear elements, found {type(group).__name__}; follow its transients"
            )


def require_reciprocal(circuit: Circuit) -> None:
    """Refuse a circuit whose response to a nudge is not that of its adjoint: one with controlled sources.

    Raises
    ------
    CircuitError
        Naming the group.
    """
    for group in [*circuit.of_kind(CurrentLaw), *circuit.of_kind(VoltageLaw)]:
        if len(group) and (group.is_controlled() or group.irreciprocity()):
            raise CircuitError(
                f"{group.label}: nudges of phasors need a reciprocal circuit of resistors, capacitors, inductors and "
                f"independent sources, found {type(group).__name__}"
            )
