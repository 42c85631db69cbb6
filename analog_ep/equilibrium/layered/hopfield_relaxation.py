"""Block coordinate descent on the layers of a Hopfield network: its fast solver."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from analog_ep.circuit import Chip, Circuit
from analog_ep.equilibrium.equilibrium import Equilibrium, Solver
from analog_ep.equilibrium.layered.hopfield_layers import HopfieldLayers, HopfieldState
from analog_ep.equilibrium.layered.resistive_layers import stamp_of
from analog_ep.equilibrium.layered.sweeps import PATIENCE, Flow, Judge, Status, Visit, largest, relative_to, sweep_until
from analog_ep.errors import StimulusError, UnstableNudgeError
from analog_ep.networks import Network, UnitNetwork
from analog_ep.networks.needs import units_of
from analog_ep.stimulus import Nudge

_ATOL = {torch.float32: 1e-5, torch.float64: 1e-13}
_RESPONSE_RTOL = {torch.float32: 1e-5, torch.float64: 1e-12}


@dataclass(frozen=True)
class HopfieldRelaxation(Solver):
    """Solves Hopfield networks layer by layer, each exactly given its neighbours.

    With its neighbours held, a layer's units do not see each other: each one minimises its own energy, in closed form
    for the hard sigmoid, so no sweep raises the energy. The free state is swept from the inputs to the outputs, whose
    product with the first weights is formed once. What is then wrong is exactly what the change of the rates behind a
    layer would make of it, the projected residual: sweeps end when no unit has more than `atol` of it. A nudged state
    is the free state plus a response that is an unknown of its own, swept from the outputs back and judged against its
    own drives.

    Where feedback is strong, over-relaxation takes about half the sweeps: hidden layers of bounded units go beyond
    their minimum by the factor, and back within their bounds. As each unit's energy is quadratic, no sweep raises the
    energy with a factor below 2 either, and on convex energies it converges [1]_. It is meant for rough tolerances:
    in its place, sweeps for tight ones are accelerated after the eighth.

    Parameters
    ----------
    atol : float, optional
        Largest projected residual of the free state; by default 1e-5 in float32 and 1e-13 in float64.
    response_rtol : float, optional
        Tolerance of the response; by default 1e-5 and 1e-12.
    max_steps : int
        Most sweeps.
    strict : bool
        Whether samples that `max_steps` sweeps leave short of their tolerance count as not converged. A training can
        do without: the paper's phases too have a fixed number of steps. `residual` tells how far they are.
    over_relaxation : float
        Factor on the steps of hidden layers, in [1, 2); 1 for smooth ρ.

    Raises
    ------
    StimulusError
        If the factor is outside [1, 2), or not 1 and ρ has no bounds.

    References
    ----------
    .. [1] C. W. Cryer, "The Solution of a Quadratic Programming Problem Using Systematic Overrelaxation," SIAM J.
       Control 9(3):385-392, 1971, doi:10.1137/0309028.
    """

    atol: float | None = None
    response_rtol: float | None = None
    max_steps: int = 500
    strict: bool = True
    over_relaxation: float = 1.0

    def __post_init__(self):
        # Below 1 a unit would come ever nearer to its bound and not stand at it.
        if not 1 <= self.over_relaxation < 2:
            raise StimulusError(f"over_relaxation must be at least 1 and below 2, found {self.over_relaxation}")

    @torch.no_grad()
    def solve(
        self,
        system: Network | Circuit,
        inputs: Tensor,
        nudge: Nudge | None = None,
        free: Equilibrium | None = None,
        chip: Chip | None = None,
    ) -> Equilibrium:
        network = hopfield_of(system, chip)
        if self.over_relaxation != 1 and network.activation.bounds is None:
            raise StimulusError(
                f"over-relaxation needs units with bounds, hard_sigmoid, found {type(network.activation).__name__}; "
                "leave over_relaxation at 1"
            )
        if nudge is None:
            return self._free(network, inputs, None if free is None else free.layers)
        free = self._free(network, inputs, None) if free is None else free
        change, status = self._nudged(_state_of(network, free), free, nudge)
        layers = tuple(layer + d for layer, d in zip(free.layers, change, strict=True))
        if not bool(free.converged.all()):
            status = replace(status, converged=status.converged & free.converged, message=f"free state: {free.message}")
        return Equilibrium.of_layers(
            network,
            inputs,
            layers,
            status,
            nudge=nudge,
            node_voltages=lambda: network.node_voltages(inputs, layers),
            reference=(free, change),
        )

    def _free(self, network: UnitNetwork, inputs: Tensor, start: tuple[Tensor, ...] | None) -> Equilibrium:
        equations = HopfieldLayers.of(network)
        begin = None if start is None else [_flat(layer) for layer in start]
        state, status = self._free_state(equations, _flat(inputs), begin)
        state = replace(state, stamp=stamp_of(network.parameters(), None))
        batch = inputs.shape[:-1]
        layers = tuple(layer.reshape(*batch, layer.shape[-1]) for layer in state.layers)
        return Equilibrium.of_layers(
            network,
            inputs,
            layers,
            _reshaped(status, batch),
            node_voltages=lambda: network.node_voltages(inputs, layers),
            workings=state,
        )

    def _free_state(
        self, equations: HopfieldLayers, inputs: Tensor, start: list[Tensor] | None
    ) -> tuple[HopfieldState, Status]:
        rho, last, beyond = equations.activation, equations.last, self.over_relaxation
        first = equations.forward(0, inputs)
        layers: list[Tensor] = (
            [first.new_zeros(len(first), len(b)) for b in equations.biases] if start is None else start
        )
        rates: list[Tensor] = [inputs, *(rho.value(layer) for layer in layers)]
        drives: list[Tensor] = list(layers)

        def visit(returned: list[Tensor] | None) -> None:
            for k in range(last + 1):
                drive = first if k == 0 else equations.forward(k, rates[k])
                drives[k] = drive if returned is None or k == last else drive + returned[k]
                settled = equations.settle(drives[k], layers[k])
                # Not in the first sweep: the start at rest is no state to go beyond.
                if beyond != 1 and returned is not None and k < last:
                    settled = rho.clip(torch.lerp(layers[k], settled, beyond))
                layers[k] = settled
                rates[k + 1] = equations.rates(layers[k])

        def flow() -> list[Tensor]:
            return [equations.backward(k, rates[k + 2]) for k in range(last)]

        carried, atol = None if start is None else flow(), self.atol or _ATOL[first.dtype]
        status = self._sweep(
            visit, flow, carried, _projected(rho.bounds, layers, drives, equations), atol, first, "atol"
        )
        return HopfieldState(equations, tuple(layers), tuple(drives)), status

    def _nudged(self, state: HopfieldState, free: Equilibrium, nudge: Nudge) -> tuple[tuple[Tensor, ...], Status]:
        equations = state.equations
        force, load = _flat(nudge.current(free.outputs)), _load(nudge)
        excesses = [state.excess(k) for k in range(equations.last + 1)]

        def settle(k: int, change: Tensor) -> Tensor:
            output = k == equations.last
            return state.settle_change(k, excesses[k], change, force if output else None, load if output else 1.0)

        return self._respond(
            state, free, settle, lambda k, step: equations.rate_changes(state.layers[k], step), state.clip_change
        )

    def small_signal(self, free: Equilibrium, error: Tensor) -> tuple[tuple[Tensor, ...], Status]:
        state = _state_of(hopfield_of(free.system, free.chip), free)
        slopes = [state.equations.activation.slope(layer) for layer in state.layers]
        compliances, force = state.compliances(), _flat(error)

        def settle(k: int, change: Tensor) -> Tensor:
            pull = slopes[k] * change
            return compliances[k] * (pull + force if k == state.equations.last else pull)

        return self._respond(state, free, settle, lambda k, step: slopes[k] * step, lambda k, step: step)

    def clamped(self, free: Equilibrium, change: Tensor) -> tuple[tuple[Tensor, ...], Status]:
        state = _state_of(hopfield_of(free.system, free.chip), free)
        rho, last, held = state.equations.activation, state.equations.last, _flat(change)
        excesses = [state.excess(k) for k in range(last)]

        def settle(k: int, drive: Tensor) -> Tensor:
            return held if k == last else state.settle_change(k, excesses[k], drive, None, 1.0)

        return self._respond(state, free, settle, lambda k, step: rho.change(state.layers[k], step), state.clip_change)

    def _respond(
        self,
        state: HopfieldState,
        free: Equilibrium,
        settle: Callable[[int, Tensor], Tensor],
        rate_change: Callable[[int, Tensor], Tensor],
        clip: Callable[[int, Tensor], Tensor],
    ) -> tuple[tuple[Tensor, ...], Status]:
        """Sweep the response from the outputs back.

        `settle` gives a layer's change by that of its drive, `rate_change` that of its rates by its own, and `clip`
        keeps it within what the layer can do.
        """
        equations, last, beyond = state.equations, state.equations.last, self.over_relaxation
        change: list[Tensor] = [torch.zeros_like(layer) for layer in state.layers]
        rates, drives = list(change), list(change)

        def visit(carried: list[Tensor] | None) -> None:
            for k in range(last, -1, -1):
                drive = None if k == last else equations.backward(k, rates[k + 1])
                forward = None if carried is None or k == 0 else carried[k - 1]
                parts = [part for part in (drive, forward) if part is not None]
                drives[k] = parts[0] if len(parts) == 1 else sum(parts, torch.zeros_like(change[k]))
                settled = settle(k, drives[k])
                if beyond != 1 and carried is not None and 0 < k < last:
                    settled = clip(k, torch.lerp(change[k], settled, beyond))
                change[k] = settled
                rates[k] = rate_change(k, change[k])

        def flow() -> list[Tensor]:
            return [equations.forward_change(k, rates[k - 1]) for k in range(1, last + 1)]

        def moved(k: int) -> Tensor:
            """What a change of the drive of layer k + 1 is judged against, the nudge at the outputs included."""
            return drives[k + 1] if k + 1 < last else change[last]

        def judge_settled(k: int, step: Tensor, rtol: float) -> tuple[Tensor, Tensor]:
            """How far layer k + 1, left beyond its minimum, is from the one under its drive as it is now."""
            size = largest(settle(k + 1, drives[k + 1] + step) - change[k + 1])
            return size, size <= largest(moved(k)).mul_(rtol)

        judge = relative_to(moved) if beyond == 1 else judge_settled
        rtol = self.response_rtol or _RESPONSE_RTOL[change[0].dtype]
        status = self._sweep(visit, flow, None, judge, rtol, change[0], "rtol")
        batch = free.inputs.shape[:-1]
        return tuple(d.reshape(*batch, d.shape[-1]) for d in change), _reshaped(status, batch)

    def _sweep(
        self,
        visit: Visit,
        flow: Flow,
        carried: list[Tensor] | None,
        judge: Judge,
        tolerance: float,
        like: Tensor,
        name: str,
    ) -> Status:
        # Over-relaxed layers remember where they were: sweeps are no function of the carried drives alone.
        patience = PATIENCE if self.over_relaxation == 1 else self.max_steps + 1
        status = sweep_until(visit, flow, carried, judge, tolerance, self.max_steps, like, name=name, patience=patience)
        if self.strict or status.complete:
            return status
        finite, message = torch.isfinite(status.residual), f"stopped after {status.sweeps} sweeps: {status.message}"
        return replace(status, converged=finite, message=message, complete=bool(finite.all()))


def hopfield_of(system: Network | Circuit, chip: Chip | None) -> UnitNetwork:
    """The Hopfield network that a solver was given.

    Raises
    ------
    StimulusError
        If it is something else, or comes with a chip.
    """
    network = units_of(system, "this solver solves a HopfieldNetwork", "use Newton for any circuit")
    if chip is not None:
        raise StimulusError("the layer equations of a HopfieldNetwork hold no chip's mismatch; leave the chip out")
    return network


def _projected(
    bounds: tuple[float, float] | None, layers: list[Tensor], drives: list[Tensor], equations: HopfieldLayers
) -> Judge:
    def judge(k: int, change: Tensor, atol: float) -> tuple[Tensor, Tensor]:
        if bounds is None:
            size = largest(equations.activation.slope(layers[k]) * change)
        else:
            size = largest((drives[k] + change).clamp(*bounds).sub_(layers[k]))
        return size, size <= atol

    return judge


def _load(nudge: Nudge) -> float:
    """What an elastic nudge adds to the stiffness 1 of each output."""
    if nudge.kind == "frozen":
        return 1.0
    if not nudge.cost.quadratic:
        raise StimulusError(
            f"an elastic nudge of a HopfieldNetwork needs SquaredError, found {type(nudge.cost).__name__}; "
            "use a frozen nudge, or EulerRelaxation"
        )
    if nudge.strength <= -1:
        raise UnstableNudgeError(
            f"a negative elastic nudge must be weaker than 1, the leak of an output, found {-nudge.strength:.3g}: "
            "beyond it the outputs have no minimum; lower the nudging or use a frozen nudge"
        )
    return 1.0 + nudge.strength


def _state_of(network: UnitNetwork, free: Equilibrium) -> HopfieldState:
    """The free state with its drives; they need not be formed again where this solver found it, just now."""
    if isinstance(free.workings, HopfieldState):
        if free.workings.stamp != stamp_of(network.parameters(), None):
            raise StimulusError("the free state must be that of the same weights; solve it again")
        return free.workings
    inputs, layers = free.inputs.to(free.layers[0]), [_flat(layer) for layer in free.layers]
    return HopfieldState.at(HopfieldLayers.of(network), _flat(inputs), layers)


def _flat(tensor: Tensor) -> Tensor:
    return tensor.reshape(-1, tensor.shape[-1])


def _reshaped(status: Status, batch: torch.Size) -> Status:
    return replace(status, converged=status.converged.reshape(batch), residual=status.residual.reshape(batch))
