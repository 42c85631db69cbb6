"""The bounds on voltage errors of states that a layered solver found."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from analog_ep.circuit import Circuit
from analog_ep.equilibrium.inexactness import allowed_error, inexact_message
from analog_ep.equilibrium.nodal.error_bound import error_bounds
from analog_ep.equilibrium.nodal.samples import Stimulus
from analog_ep.errors import StimulusError
from analog_ep.stimulus import Nudge

_ADVICE = "lower rtol, or solve with Newton"

_ROUNDINGS = 1e4
"""Error, in units of the dtype's rounding of the largest voltage, below which a bound need not be improved."""


def layered_bounds(
    circuit: Circuit, inputs: Tensor, voltages: Tensor, nudge: Nudge | None, free_outputs: Tensor | None
) -> Tensor:
    """Most that a node's voltage is off, float64 `(*batch,)`. [V]

    Parameters
    ----------
    circuit : Circuit
        What was solved.
    inputs : Tensor (*batch, n_inputs)
        Inputs. [V]
    voltages : Tensor (*batch, n_nodes)
        What was found. [V]
    nudge : Nudge or None
        What nudged it.
    free_outputs : Tensor (*batch, n_outputs) or None
        Outputs of the free state, with a nudge. [V]
    """
    batch = inputs.shape[:-1]
    flat, states = _flat(inputs), _flat(voltages).numpy()
    elastic = injected = None
    if nudge is not None:
        own = Nudge(nudge.strength, _flat(nudge.target), nudge.cost, nudge.kind)
        if nudge.kind == "elastic":
            elastic = own
        elif free_outputs is None:
            raise StimulusError("a bound on a state under a frozen nudge needs the free outputs, found none")
        else:
            injected = own.current(_flat(free_outputs)).numpy()
    stimulus, bounds = Stimulus(flat.numpy(), elastic, injected), error_bounds(circuit)
    accuracy = _ROUNDINGS * torch.finfo(voltages.dtype).eps
    allowed = allowed_error(np.nan_to_num(states), accuracy)
    found = bounds.near(stimulus, states, bounds.far(stimulus, states), allowed)
    return torch.from_numpy(found.bound).reshape(batch).to(inputs.device)


def judged(circuit: Circuit, voltages: Tensor, bound: Tensor, accuracy: float) -> tuple[Tensor, str]:
    """Which samples `(*batch,)` are known to this part of their largest voltage, and what to say of others."""
    states, errors = _flat(voltages).numpy(), bound.reshape(-1).cpu().numpy()
    exact = errors <= allowed_error(states, accuracy)
    message = inexact_message(circuit, errors, states, exact, accuracy, _ADVICE)
    return torch.from_numpy(exact).reshape(bound.shape).to(bound.device), message


def _flat(values: Tensor) -> Tensor:
    return values.detach().to("cpu", torch.float64).reshape(-1, values.shape[-1])
