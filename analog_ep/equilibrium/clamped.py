"""Equilibria of networks whose outputs are held at given values."""

from __future__ import annotations

import torch
from torch import Tensor

from analog_ep.circuit import Chip, with_output_clamps
from analog_ep.equilibrium.equilibrium import CircuitSolver, Equilibrium, SmallSignalSolver, Solver, solve
from analog_ep.errors import ConvergenceError, StimulusError
from analog_ep.networks import CircuitNetwork, Network


@torch.no_grad()
def clamped_response(
    network: Network,
    inputs: Tensor,
    free: Equilibrium,
    change: Tensor,
    solver: Solver,
    chip: Chip | None = None,
) -> tuple[Tensor, ...]:
    """Layers with the outputs held at their free values plus `change`, less the free layers.

    Layered solvers solve for the response itself, to full relative precision at any size of the change; solvers of
    circuits solve `with_output_clamps` and subtract.

    Parameters
    ----------
    network : Network
        What is solved.
    inputs : Tensor (*batch, n_inputs)
        Inputs. [V]
    free : Equilibrium
        Its free state.
    change : Tensor (*batch, n_outputs)
        Of the differential outputs. [V]
    solver : Solver
        That found the free state: `Relaxation`, `HopfieldRelaxation`, `Newton` or `Ngspice`.
    chip : Chip, optional
        Mismatch of the hardware.

    Raises
    ------
    StimulusError
        If `change` is not finite or of another shape than the outputs, or the solver cannot hold outputs.
    ConvergenceError
        If a sample did not converge.
    """
    if change.shape != free.outputs.shape or not bool(torch.isfinite(change).all()):
        raise StimulusError(
            f"the change of clamped outputs must be finite and of shape {tuple(free.outputs.shape)}, "
            f"found shape {tuple(change.shape)}{'' if bool(torch.isfinite(change).all()) else ' with NaN or infinity'}"
        )
    if isinstance(solver, SmallSignalSolver):
        response, status = solver.clamped(free, change)
        if not status.complete:
            raise ConvergenceError(f"clamped outputs: {status.message}")
        return response
    if not isinstance(solver, CircuitSolver) or not isinstance(network, CircuitNetwork):
        raise StimulusError(f"outputs of a {type(network).__name__} cannot be held by {type(solver).__name__}")
    circuit = with_output_clamps(network.circuit(chip))
    held = solve(circuit, torch.cat([inputs.to(free.outputs), free.outputs + change], -1), solver=solver)
    layers = network.layers_of(held.voltages)
    return tuple(clamped - before for clamped, before in zip(layers, free.layers, strict=True))
