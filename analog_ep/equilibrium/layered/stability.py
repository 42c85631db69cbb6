"""Whether a negative elastic nudge leaves the equilibrium a minimum."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from analog_ep.circuit import Chip
from analog_ep.equilibrium.equilibrium import Equilibrium, linear_response
from analog_ep.equilibrium.layered.resistive_layers import Ladder
from analog_ep.equilibrium.nodal.newton import Newton
from analog_ep.errors import StimulusError, UnstableNudgeError
from analog_ep.networks import CrossbarNetwork, HardwareNetwork, Network, Question, UnitNetwork
from analog_ep.stimulus import Nudge

_CLAMPED = 1e12
"""Conductance that stands for an ideal diode's clamp, relative to the node's own."""


def require_stable_nudge(network: Network, nudge: Nudge, states: list[Equilibrium], chip: Chip | None = None) -> None:
    """Refuse an elastic nudge −b with b at or beyond b_c = 1/λ_max(Z ∂²C).

    Z is the differential output-impedance matrix. In crossbars it is largest without the diodes, which gives a bound
    that holds for every state; only where the nudge exceeds that bound, and in other circuits always, is Z formed at
    each state of `states`.

    Raises
    ------
    UnstableNudgeError
        If the equilibrium is not a minimum at one of the states.
    StimulusError
        If the network is no circuit.
    """
    if nudge.strength < 0 and nudge.kind == "elastic":
        network.answer(_Stability(nudge, states, chip))


@dataclass(frozen=True, eq=False)
class _Stability(Question[None]):
    nudge: Nudge
    states: list[Equilibrium]
    chip: Chip | None

    def network(self, network: Network) -> None:
        raise StimulusError(
            f"a negative elastic nudge needs a network that is a circuit, found a {type(network).__name__}; "
            "use a frozen nudge"
        )

    def circuit(self, network: HardwareNetwork) -> None:
        self._require(min(float(_critical_in_circuit(network, state, self.nudge).min()) for state in self.states))

    def crossbars(self, network: CrossbarNetwork) -> None:
        ladder, nudge = Ladder.of(network, self.states[0].layers[0].double(), self.chip), self.nudge
        impedance = torch.linalg.eigvals(output_impedance(ladder)).real.max()
        if -nudge.strength * float(impedance) * nudge.cost.curvature_bound >= 1:
            self._require(min(float(critical_nudging(ladder, state, nudge).min()) for state in self.states))

    def units(self, network: UnitNetwork) -> None:
        """Nothing: states are kept in bounds, or the solver says that the outputs have no minimum."""

    def _require(self, critical: float) -> None:
        if -self.nudge.strength >= critical:
            raise UnstableNudgeError(
                f"a negative elastic nudge must be weaker than {critical:.3g} here, found {-self.nudge.strength:.3g}: "
                f"beyond it the equilibrium is no longer a minimum; lower the nudging or use a frozen nudge"
            )


def _critical_in_circuit(network: HardwareNetwork, state: Equilibrium, nudge: Nudge) -> Tensor:
    """b_c at a state of any circuit, `(*batch,)`: Z column by column, from Newton's Jacobian."""
    columns = []
    for error in torch.eye(state.outputs.shape[-1], dtype=state.outputs.dtype, device=state.outputs.device):
        response = linear_response(state, error.expand_as(state.outputs), solver=Newton())
        columns.append(network.outputs_of(response))
    product = torch.stack(columns, -1) @ nudge.cost.hessian(state.outputs).to(columns[0])
    return 1 / torch.linalg.eigvals(product).real.amax(-1).clamp(min=0)


def critical_nudging(ladder: Ladder, state: Equilibrium, nudge: Nudge) -> Tensor:
    """b_c at a state, `(*batch,)`; infinite where no nudge of this cost is unstable."""
    layers = [layer.reshape(-1, layer.shape[-1]).double() for layer in state.layers]
    outputs = state.outputs.reshape(-1, state.outputs.shape[-1]).double()
    curvature = nudge.cost.hessian(outputs)
    critical = []
    for sample in range(len(outputs)):
        slopes = [
            0.0 if clamp is None else clamp.slope_at(layer[sample], total, _CLAMPED)
            for clamp, layer, total in zip(ladder.clamps, layers, ladder.totals, strict=True)
        ]
        largest = torch.linalg.eigvals(output_impedance(ladder, slopes) @ curvature[sample]).real.max()
        critical.append(1 / torch.clamp(largest, min=0))
    return torch.stack(critical).reshape(state.outputs.shape[:-1])


def output_impedance(ladder: Ladder, slopes: Sequence[Tensor | float] | None = None) -> Tensor:
    """Differential output-impedance matrix Z `(n_outputs, n_outputs)`, by block elimination of the layers. [Ω]

    Parameters
    ----------
    ladder : Ladder
        The network's equations.
    slopes : list of Tensor (n_units,), optional
        Slope of each layer's diodes at the state; none for the network without its diodes. [S]
    """
    pairs = zip((0.0,) * len(ladder.totals) if slopes is None else slopes, ladder.totals, strict=True)
    own = [ladder.nodal_matrix(k).double() + _diagonal(slope, total) for k, (slope, total) in enumerate(pairs)]
    block = own[0]
    for stage, matrix in zip(ladder.stages[1:], own[1:], strict=True):
        weight = stage.matrix().double()
        gain, feedback = (torch.as_tensor(a, dtype=weight.dtype).to(weight) for a in (stage.gain, stage.feedback))
        down = gain.expand(len(weight))[:, None] * weight
        up = feedback.expand(len(weight))[:, None] * weight
        block = matrix - down.T @ torch.linalg.solve(block, up)
    n = block.shape[0] // 2
    across = torch.cat([torch.eye(n, dtype=block.dtype), -torch.eye(n, dtype=block.dtype)]).to(block.device)
    return across.T @ torch.linalg.solve(block, across)


def _diagonal(slope: Tensor | float, total: Tensor) -> Tensor:
    return torch.diag(torch.as_tensor(slope, dtype=torch.float64, device=total.device).expand_as(total))
