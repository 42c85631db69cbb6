"""Block coordinate descent on the layers: the fast solver, on tensors of any dtype and device."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from analog_ep.circuit import Chip, Circuit
from analog_ep.equilibrium.equilibrium import Equilibrium, Solver
from analog_ep.equilibrium.layered.bounds import judged, layered_bounds
from analog_ep.equilibrium.layered.resistive_layers import Ladder, LadderState, stamp_of
from analog_ep.equilibrium.layered.sweeps import Status, bounded_by, relative_to, sweep_until
from analog_ep.errors import StimulusError
from analog_ep.networks import CrossbarNetwork, Network
from analog_ep.networks.needs import crossbars_of
from analog_ep.stimulus import Nudge

_RTOL = {torch.float32: 1e-6, torch.float64: 1e-13}
_RESPONSE_RTOL = {torch.float32: 1e-5, torch.float64: 1e-12}
_MAX_OUTPUT_STEPS = 50
_MAX_HALVINGS = 12
_OUTPUT_RTOL = 1e-5


@dataclass(frozen=True)
class Relaxation(Solver):
    """Solves layered resistive networks layer by layer, each exactly given its neighbours.

    With the layers before and after held, the nodes of a layer do not see each other, so each obeys a scalar equation
    with one root. Every such step lowers the energy where there is one; without one (mismatched gains) the steps solve
    the same Kirchhoff equations block by block.

    Sweeps follow the signal. The free state runs from the inputs to the outputs; what is then wrong at a layer is
    exactly the change of the current that its amplifiers return, and sweeps end when that is below `rtol` of the
    layer's largest current, in every sample. A nudged state is the free state plus a response that is an unknown of
    its own: it runs from the outputs back, and is judged against its own currents, so that it keeps its relative
    precision however small it is.

    Parameters
    ----------
    rtol : float, optional
        Tolerance of the free state; by default 1e-6 in float32 and 1e-13 in float64.
    response_rtol : float, optional
        Tolerance of the response; by default 1e-5 and 1e-12.
    max_steps : int
        Most sweeps.
    accuracy : float, optional
        Largest bound on the error of a node's voltage, relative to the largest voltage of the sample, at which the
        sample counts as converged. By default the sweeps alone decide, as training has no time for bounds: in a badly
        conditioned network they may end far from the solution, which `Equilibrium.voltage_error_bound` then tells.
    """

    rtol: float | None = None
    response_rtol: float | None = None
    max_steps: int = 500
    accuracy: float | None = None

    @torch.no_grad()
    def solve(
        self,
        system: Network | Circuit,
        inputs: Tensor,
        nudge: Nudge | None = None,
        free: Equilibrium | None = None,
        chip: Chip | None = None,
    ) -> Equilibrium:
        system = _layered(system)
        if nudge is None:
            state, status = self.free_state(
                Ladder.of(system, inputs, chip), inputs, None if free is None else free.layers
            )
            state = replace(state, stamp=_stamp(system, chip))
            found = _equilibrium(system, inputs, state.layers, status, chip, state.stamp, workings=state)
            return self._judged(found, system, chip)
        if free is None:
            free = self.solve(system, inputs, chip=chip)
        state = _state_of(system, inputs, free, chip)
        change, status = self.response(state, free.outputs, nudge)
        layers = tuple(layer + d for layer, d in zip(free.layers, change, strict=True))
        if not bool(free.converged.all()):
            status = replace(status, converged=status.converged & free.converged, message=f"free state: {free.message}")
        stamp = state.stamp or _stamp(system, chip)
        found = _equilibrium(system, inputs, layers, status, chip, stamp, nudge, (free, change))
        return self._judged(found, system, chip)

    def _judged(self, found: Equilibrium, network: CrossbarNetwork, chip: Chip | None) -> Equilibrium:
        """The state, with the bound on its errors deciding where an accuracy is asked for."""
        if self.accuracy is None:
            return found
        exact, message = judged(network.circuit(chip), found.voltages, found.voltage_error_bound, self.accuracy)
        message = found.message if not bool(found.converged.all()) else message or found.message
        return replace(found, converged=found.converged & exact, message=message)

    def free_state(
        self, ladder: Ladder, inputs: Tensor, start: tuple[Tensor, ...] | None = None
    ) -> tuple[LadderState, Status]:
        """The equilibrium without a nudge, from zero feedback or from the feedback of the layers `start`."""
        first = ladder.stages[0].forward(inputs)
        layers: list[Tensor] = [first] * (ladder.last + 1) if start is None else list(start)
        drives: list[Tensor] = list(layers)
        before: list[Tensor | None] = [None] * len(layers)

        def visit(returned: list[Tensor] | None) -> None:
            for k in range(ladder.last + 1):
                drive = first if k == 0 else ladder.forward(k, layers)
                drives[k] = drive if returned is None or k >= len(returned) else drive + returned[k]
                before[k] = None if returned is None else layers[k]
                layers[k] = ladder.solve(k, drives[k])

        def flow() -> list[Tensor]:
            return [ladder.returned(k, layers) for k in range(ladder.n_returned)]

        def bound(rtol: float, shift: list[Tensor] | None) -> list[tuple[Tensor, Tensor]]:
            norms = [stage.backward_norm for stage in ladder.stages[1:]]
            return _bounds(norms, layers[1:], before[1:], shift, drives[:-1], rtol)

        # A first sweep without feedback leaves all of it undone.
        least = 2 if start is None and ladder.n_returned else 1
        judge, rtol = relative_to(lambda k: drives[k]), self.rtol or _RTOL[first.dtype]
        carried = None if start is None else flow()
        status = sweep_until(
            visit,
            flow,
            carried,
            judge,
            rtol,
            self.max_steps,
            first,
            bound=bound if ladder.wide else None,
            secant=True,
            least=least,
        )
        return LadderState(ladder, tuple(layers), tuple(drives)), status

    def response(self, state: LadderState, outputs: Tensor, nudge: Nudge) -> tuple[tuple[Tensor, ...], Status]:
        """Change of the layers under the nudge about a free state with these outputs, as an unknown of its own."""
        ladder = state.ladder
        error = nudge.current(outputs)

        def solve_layer(k: int, drive: Tensor) -> Tensor:
            if k < ladder.last:
                return ladder.solve_change(k, state, drive)
            if nudge.kind == "elastic":
                drive = drive + _elastic_current(ladder.totals[k], drive, outputs, nudge)
            return drive * ladder.resistances[k]

        return self._respond(ladder, error, solve_layer)

    def small_signal(self, free: Equilibrium, error: Tensor) -> tuple[tuple[Tensor, ...], Status]:
        return self.linear_response(_free_state(free), error)

    def linear_response(self, state: LadderState, error: Tensor) -> tuple[tuple[Tensor, ...], Status]:
        """Response to the current `error` into v₊ and out of v₋, linearised at a free state."""
        resistances = state.response_resistances()
        return self._respond(state.ladder, error, lambda k, drive: drive * resistances[k])

    def adjoint(self, free: Equilibrium, error: Tensor) -> tuple[tuple[Tensor, ...], Status]:
        return self.linear_response(_free_state(free).exchanged(), error)

    def asymmetric(
        self, free: Equilibrium, error: Tensor, nudge: Nudge | None = None
    ) -> tuple[tuple[Tensor, ...], Status]:
        network = _layered(free.system)
        state = _free_state(free).exchanged([feedback / gain for gain, feedback in network.couplings[1:]])
        return self.linear_response(state, error) if nudge is None else self.response(state, free.outputs, nudge)

    def clamped(self, free: Equilibrium, change: Tensor) -> tuple[tuple[Tensor, ...], Status]:
        state = _free_state(free)
        ladder, n = state.ladder, change.shape[-1]
        resistance = ladder.resistances[-1]
        across = resistance[:n] + resistance[n:]

        def solve_layer(k: int, drive: Tensor) -> Tensor:
            if k < ladder.last:
                return ladder.solve_change(k, state, drive)
            # The free pair, with the current of the source that holds its difference.
            found = drive * resistance
            current = (change - (found[..., :n] - found[..., n:])) / across
            return found + torch.cat([current, -current], -1) * resistance

        return self._respond(ladder, change / across, solve_layer)

    def _respond(
        self, ladder: Ladder, error: Tensor, solve_layer: Callable[[int, Tensor], Tensor]
    ) -> tuple[tuple[Tensor, ...], Status]:
        fixed = torch.cat([error, -error], -1)
        change: list[Tensor] = [fixed] * (ladder.last + 1)
        drives: list[Tensor] = list(change)
        before: list[Tensor | None] = [None] * len(change)
        # Layers, to the last one, into which currents flow that a sweep from the outputs does not know yet.
        known = 1 if ladder.lateral is None else 0

        def visit(carried: list[Tensor] | None) -> None:
            for k in range(ladder.last, -1, -1):
                drive = fixed if k == ladder.last else ladder.backward(k, change)
                drives[k] = drive if carried is None or k < known else drive + carried[k - known]
                before[k] = None if carried is None else change[k]
                change[k] = solve_layer(k, drives[k])

        def flow() -> list[Tensor]:
            return [ladder.forwarded_change(k, change) for k in range(known, ladder.last + 1)]

        def bound(rtol: float, shift: list[Tensor] | None) -> list[tuple[Tensor, Tensor]]:
            norms = [stage.forward_norm for stage in ladder.stages[1:]]
            return _bounds(norms, change[:-1], before[:-1], shift, drives[1:], rtol)

        judge, rtol = relative_to(lambda k: drives[k + known]), self.response_rtol or _RESPONSE_RTOL[fixed.dtype]
        bounded = bound if ladder.wide else None
        status = sweep_until(visit, flow, None, judge, rtol, self.max_steps, fixed, bound=bounded, secant=True)
        return tuple(change), status


def _bounds(
    norms: list[Tensor],
    layers: list[Tensor],
    before: list[Tensor | None],
    shift: list[Tensor] | None,
    drives: list[Tensor],
    rtol: float,
) -> list[tuple[Tensor, Tensor]]:
    """`bounded_by` for each current, from the layers that carry it as they are and were; None stands for zeros."""
    moved = [now if old is None else now - old for now, old in zip(layers, before, strict=True)]
    shifts = [None] * len(norms) if shift is None else shift
    return [bounded_by(*parts, rtol) for parts in zip(norms, moved, shifts, drives, strict=True)]


def _free_state(free: Equilibrium) -> LadderState:
    """A free state, whoever found it."""
    return _state_of(_layered(free.system), free.inputs.to(free.layers[0]), free, free.chip)


def _layered(system: Network | Circuit) -> CrossbarNetwork:
    return crossbars_of(system, "Relaxation solves layered networks", "use Newton for any circuit")


def _state_of(network: CrossbarNetwork, inputs: Tensor, free: Equilibrium, chip: Chip | None) -> LadderState:
    """The free state with its currents; they need not be formed again where `Relaxation` itself found it."""
    if isinstance(free.workings, LadderState):
        if free.workings.stamp != _stamp(network, chip):
            raise StimulusError("the free state must be that of the same conductances and chip; solve it again")
        return free.workings
    return LadderState.at(Ladder.of(network, inputs, chip), inputs, free.layers)


def _stamp(network: CrossbarNetwork, chip: Chip | None) -> object:
    # Label by label: a walk through the modules takes five times as long, and every step asks twice.
    return stamp_of((network.theta(layout.label) for layout in network.layouts if layout.learns), chip)


def _elastic_current(total: Tensor, current: Tensor, outputs: Tensor, nudge: Nudge) -> Tensor:
    """Change of the elastic nudge's current with the output's own change, solved with the pair of nodes it joins."""
    n = outputs.shape[-1]
    resistance = 1 / total[:n] + 1 / total[n:]
    open_change = current[..., :n] / total[:n] - current[..., n:] / total[n:]
    change = _elastic_change(resistance, open_change, outputs, nudge)
    back = -nudge.strength * nudge.cost.gradient_change(outputs, change)
    return torch.cat([back, -back], -1)


def _elastic_change(resistance: Tensor, open_change: Tensor, outputs: Tensor, nudge: Nudge) -> Tensor:
    """Solve d + β r [∂C(o + d) − ∂C(o)] = open_change for the outputs' change d; NaN in samples where that fails."""
    if nudge.cost.quadratic:
        return open_change / (1 + nudge.strength * resistance)
    stiffness = nudge.strength * resistance

    def excess(change: Tensor) -> Tensor:
        return change + stiffness * nudge.cost.gradient_change(outputs, change) - open_change

    change, wrong = open_change, excess(open_change)
    identity = torch.eye(change.shape[-1], dtype=change.dtype, device=change.device)
    for _ in range(_MAX_OUTPUT_STEPS):
        jacobian = identity + stiffness[:, None] * nudge.cost.hessian(outputs + change)
        step = torch.linalg.solve(jacobian, wrong)
        change, wrong = _shortened(change, step, wrong, excess)
        if bool((step.abs() <= 4 * torch.finfo(step.dtype).eps * change.abs().amax(-1, keepdim=True)).all()):
            break
    failed = wrong.abs().amax(-1, keepdim=True) > _OUTPUT_RTOL * open_change.abs().amax(-1, keepdim=True)
    return torch.where(failed, torch.nan, change)


def _shortened(point: Tensor, step: Tensor, wrong: Tensor, excess: Callable[[Tensor], Tensor]) -> tuple[Tensor, Tensor]:
    """Newton's step against `step`, halved in each sample until it makes the equations less wrong."""
    before = torch.linalg.vector_norm(wrong, dim=-1, keepdim=True)
    factor = torch.ones_like(before)
    for _ in range(_MAX_HALVINGS):
        found = excess(point - factor * step)
        worse = torch.linalg.vector_norm(found, dim=-1, keepdim=True) > before
        if not bool(worse.any()):
            break
        factor = torch.where(worse, 0.5 * factor, factor)
    return point - factor * step, excess(point - factor * step)


def _equilibrium(
    network: CrossbarNetwork,
    inputs: Tensor,
    layers: tuple[Tensor, ...],
    status: Status,
    chip: Chip | None,
    stamp: object,
    nudge: Nudge | None = None,
    reference: tuple[Equilibrium, tuple[Tensor, ...]] | None = None,
    **others: Any,
) -> Equilibrium:
    free = None if reference is None else reference[0].outputs

    def voltages() -> Tensor:
        return network.node_voltages(inputs, layers, chip)

    def bounds() -> Tensor:
        if stamp != _stamp(network, chip):
            raise StimulusError(
                "a bound on voltages needs the conductances that were solved, found others; solve again"
            )
        return layered_bounds(network.circuit(chip), inputs, voltages(), nudge, free)

    return Equilibrium.of_layers(
        network,
        inputs,
        layers,
        status,
        node_voltages=voltages,
        error_bounds=bounds,
        nudge=nudge,
        chip=chip,
        reference=reference,
        **others,
    )
